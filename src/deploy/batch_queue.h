// A bounded queue of requests that are run in batches, one after the other. Private to deploy/.
// It knows tokens, groups and time; what a batch does is its owner's.
//
// A batch is closed when its run begins, and begins at once unless company is known: jobs that are
// being read, or as many as came at one moment the last time. A job that comes alone after another
// that came alone waits for nobody.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace kvalign {

struct BatchQueueOptions {
  int64_t max_tokens = 1024;                   // of a batch; a longer job is run alone
  std::chrono::steady_clock::duration wait{};  // for jobs that are expected, or came so lately
  int64_t max_jobs = 64;                       // that may wait
  // A caller who completes a batch while none runs runs it itself: two switches of threads fewer.
  // Not where each thread that computes would get helpers of its own.
  bool callers_run = false;
};

// What one caller waits for. It derives from this and knows its results; run() of the queue writes
// them.
struct BatchJob {
  using Clock = std::chrono::steady_clock;
  const void* group = nullptr;  // jobs of one group go together
  int64_t tokens = 0;
  bool alone = false;             // not with others
  Clock::time_point deadline{};   // zero: none
  double queue_seconds = 0;       // result: until it was taken
  std::exception_ptr error = {};  // result: what run() threw

 protected:
  BatchJob() = default;
  ~BatchJob() = default;
  BatchJob(const BatchJob&) = default;
  BatchJob& operator=(const BatchJob&) = default;

 private:
  friend class BatchQueue;
  enum class State : uint8_t { kWaiting, kTaken, kDone };
  State state_ = State::kWaiting;
  Clock::time_point arrived_{};
};

class BatchQueue {
 public:
  // Called with jobs of one group, in the order of their arrival, from the queue's thread or a
  // caller's; never twice at once.
  using Run = std::function<void(const std::vector<BatchJob*>&)>;

  BatchQueue(const BatchQueueOptions& options, Run run);
  ~BatchQueue();  // as stop()
  BatchQueue(const BatchQueue&) = delete;
  BatchQueue& operator=(const BatchQueue&) = delete;

  // A job that will be submitted soon, or given up: a batch waits for it.
  class Expected {
   public:
    explicit Expected(BatchQueue& queue);
    ~Expected();
    Expected(const Expected&) = delete;
    Expected& operator=(const Expected&) = delete;

   private:
    friend class BatchQueue;
    void arrive();
    BatchQueue* queue_;  // null once it has arrived
  };

  // Returns when the job was run; throws what run() threw, and ServeRefusal 503 "busy" where the
  // queue is full or stopped, 504 "deadline" where the job's deadline passes first.
  void submit(BatchJob& job, Expected& expected);

  // Runs what waits, then ends the thread.
  void stop();

  int64_t num_waiting() const;

 private:
  // What one batch told of the next: clients who sent at the same moment, and had their answers at
  // the same moment, are likely to do so again.
  struct Round {
    const void* group = nullptr;
    int64_t jobs = 1;  // its own, and those that came soon after the first of them
    BatchJob::Clock::duration run{};
  };

  void loop();
  bool is_full(const BatchJob& first) const;
  int64_t num_joining(const BatchJob& first) const;
  Round company_of(const BatchJob& first) const;
  bool is_complete() const;
  void remember(const std::vector<BatchJob*>& batch, BatchJob::Clock::duration run);
  std::vector<BatchJob*> take();
  void run_next(std::unique_lock<std::mutex>& lock);

  const BatchQueueOptions options_;
  const Run run_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;  // for the thread: a job, or one fewer expected
  std::condition_variable done_;     // for callers
  std::deque<BatchJob*> waiting_;
  int64_t expected_ = 0;
  std::array<Round, 2> rounds_ = {};  // the last ones, newest first
  bool running_ = false;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace kvalign
