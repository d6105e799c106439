// One mutex; at most one batch runs at a time. See batch_queue.h.
#include "batch_queue.h"

#include <algorithm>

#include "kvalign/serve/inference_service.h"

namespace kvalign {

BatchQueue::BatchQueue(const BatchQueueOptions& options, Run run)
    : options_(options), run_(std::move(run)), thread_([this] { loop(); }) {}

BatchQueue::~BatchQueue() {
  stop();
}

void BatchQueue::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

int64_t BatchQueue::num_waiting() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(waiting_.size());
}

BatchQueue::Expected::Expected(BatchQueue& queue) : queue_(&queue) {
  const std::lock_guard lock(queue.mutex_);
  ++queue.expected_;
}

BatchQueue::Expected::~Expected() {
  if (queue_ == nullptr) return;
  BatchQueue& queue = *queue_;
  {
    const std::lock_guard lock(queue.mutex_);
    arrive();
  }
  queue.changed_.notify_one();
}

// With the lock held.
void BatchQueue::Expected::arrive() {
  if (queue_ == nullptr) return;
  --queue_->expected_;
  queue_ = nullptr;
}

void BatchQueue::submit(BatchJob& job, Expected& expected) {
  std::unique_lock lock(mutex_);
  expected.arrive();
  if (stopped_) throw ServeRefusal(503, "busy", "the service is being stopped");
  if (static_cast<int64_t>(waiting_.size()) >= options_.max_jobs) {
    throw ServeRefusal(503, "busy",
                       "expected fewer than " + std::to_string(options_.max_jobs) +
                           " waiting requests, got one more. Try again later");
  }
  job.state_ = BatchJob::State::kWaiting;
  job.arrived_ = BatchJob::Clock::now();
  waiting_.push_back(&job);
  if (options_.callers_run && !running_ && is_complete()) {
    run_next(lock);
  } else {
    changed_.notify_one();
  }
  const auto is_done = [&] { return job.state_ == BatchJob::State::kDone; };
  const bool has_deadline = job.deadline != BatchJob::Clock::time_point{};
  if (has_deadline && !done_.wait_until(lock, job.deadline, is_done)) {
    if (job.state_ == BatchJob::State::kWaiting) std::erase(waiting_, &job);
    // One that is being run reads what belongs to the caller, who has to stay for so long.
    done_.wait(lock, [&] { return job.state_ != BatchJob::State::kTaken; });
    throw ServeRefusal(504, "deadline", "the request's deadline passed before it was answered");
  }
  done_.wait(lock, is_done);
  if (job.error) std::rethrow_exception(job.error);
}

bool BatchQueue::is_full(const BatchJob& first) const {
  if (first.alone) return true;
  int64_t tokens = 0;
  for (const BatchJob* job : waiting_) {
    if (job->group == first.group && !job->alone) tokens += job->tokens;
  }
  return tokens >= options_.max_tokens;
}

int64_t BatchQueue::num_joining(const BatchJob& first) const {
  return std::count_if(waiting_.begin(), waiting_.end(), [&](const BatchJob* job) {
    return job->group == first.group && !job->alone;
  });
}

// The round of the last two that had more jobs; one job, and no time, where none was of its group.
BatchQueue::Round BatchQueue::company_of(const BatchJob& first) const {
  Round company;
  for (const Round& round : rounds_) {
    if (round.group == first.group && round.jobs > company.jobs) company = round;
  }
  return company;
}

// Whether nobody is known who would go with the first.
bool BatchQueue::is_complete() const {
  const BatchJob& first = *waiting_.front();
  return is_full(first) || (expected_ == 0 && num_joining(first) >= company_of(first).jobs);
}

void BatchQueue::remember(const std::vector<BatchJob*>& batch, BatchJob::Clock::duration run) {
  const BatchJob& first = *batch.front();
  if (first.alone) return;
  // Who came at the same moment may have had to wait for the processor, which the run took.
  constexpr int kShareOfRun = 4;
  const auto together_until = first.arrived_ + std::max(options_.wait, run / kShareOfRun);
  const int64_t late = std::count_if(waiting_.begin(), waiting_.end(), [&](const BatchJob* job) {
    return job->group == first.group && !job->alone && job->arrived_ <= together_until;
  });
  rounds_ = {Round{first.group, static_cast<int64_t>(batch.size()) + late, run}, rounds_.front()};
}

// The first job and those that go with it, taken off the queue.
std::vector<BatchJob*> BatchQueue::take() {
  std::vector<BatchJob*> batch;
  std::deque<BatchJob*> others;
  const auto now = BatchJob::Clock::now();
  int64_t tokens = 0;
  for (BatchJob* job : waiting_) {
    const bool joins =
        batch.empty() || (job->group == batch.front()->group && !job->alone &&
                          !batch.front()->alone && tokens + job->tokens <= options_.max_tokens);
    if (!joins) {
      others.push_back(job);
      continue;
    }
    tokens += job->tokens;
    job->state_ = BatchJob::State::kTaken;
    job->queue_seconds = std::chrono::duration<double>(now - job->arrived_).count();
    batch.push_back(job);
  }
  waiting_.swap(others);
  return batch;
}

// Takes a batch and runs it, without the lock.
void BatchQueue::run_next(std::unique_lock<std::mutex>& lock) {
  const std::vector<BatchJob*> batch = take();
  running_ = true;
  lock.unlock();
  std::exception_ptr error;
  const auto start = BatchJob::Clock::now();
  try {
    run_(batch);
  } catch (...) {
    error = std::current_exception();
  }
  const auto run = BatchJob::Clock::now() - start;
  lock.lock();
  running_ = false;
  remember(batch, run);
  for (BatchJob* job : batch) {
    job->error = error;
    job->state_ = BatchJob::State::kDone;
  }
  done_.notify_all();
  changed_.notify_one();
}

void BatchQueue::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return !running_ && (stopped_ || !waiting_.empty()); });
    if (waiting_.empty()) return;
    const BatchJob& first = *waiting_.front();
    const auto expected_until = first.arrived_ + options_.wait;
    // Who is only likely is waited for no longer than a batch takes: one run is saved at most.
    const auto company_until = first.arrived_ + std::min(options_.wait, company_of(first).run);
    changed_.wait_until(lock, company_until,
                        [&] { return waiting_.empty() || stopped_ || is_complete(); });
    changed_.wait_until(lock, expected_until, [&] {
      return waiting_.empty() || stopped_ || expected_ == 0 || is_full(*waiting_.front());
    });
    if (!running_ && !waiting_.empty()) run_next(lock);
  }
}

}  // namespace kvalign
