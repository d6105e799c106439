// Who goes with whom, who waits, and who is turned away. Time is real: what is slow here is a job
// that a test holds up itself.
#include "src/deploy/batch_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <stdexcept>
#include <thread>

#include "kvalign/serve/inference_service.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using Clock = BatchJob::Clock;
using namespace std::chrono_literals;

struct NumberedJob : BatchJob {
  explicit NumberedJob(int64_t job_number, int64_t job_tokens = 1) : number(job_number) {
    tokens = job_tokens;
  }
  int64_t number;
};

// A queue whose batches are written down, and whose first one waits until it is let go.
class HeldQueue {
 public:
  explicit HeldQueue(BatchQueueOptions options)
      : queue(options, [this](const std::vector<BatchJob*>& batch) { run(batch); }) {
    first_ = start(std::make_shared<NumberedJob>(-1));
    running_.get_future().wait();
  }
  ~HeldQueue() { let_go(); }

  // Returns when it waits.
  std::future<void> submit(const std::shared_ptr<NumberedJob>& job) {
    const int64_t waiting = queue.num_waiting();
    std::future<void> result = start(job);
    while (queue.num_waiting() == waiting) std::this_thread::yield();
    return result;
  }

  // Lets the first batch end; returns the numbers of the batches after it.
  std::vector<std::vector<int64_t>> let_go() {
    if (!first_.valid()) return {};
    hold_.set_value();
    first_.get();
    queue.stop();
    return {batches_.begin() + 1, batches_.end()};
  }

 private:
  std::future<void> start(const std::shared_ptr<NumberedJob>& job) {
    return std::async(std::launch::async, [this, job] {
      BatchQueue::Expected expected(queue);
      queue.submit(*job, expected);
    });
  }

  void run(const std::vector<BatchJob*>& batch) {
    std::vector<int64_t> numbers;
    for (BatchJob* job : batch) numbers.push_back(static_cast<NumberedJob*>(job)->number);
    batches_.push_back(numbers);
    if (batches_.size() > 1) return;
    running_.set_value();
    hold_.get_future().wait();
  }

  std::vector<std::vector<int64_t>> batches_;
  std::promise<void> running_, hold_;
  std::future<void> first_;

 public:
  BatchQueue queue;
};

TEST(BatchQueueTest, PutsJobsOfOneGroupTogetherUpToTheLimit) {
  HeldQueue held({.max_tokens = 10});
  const int group = 0, other = 0;
  std::vector<std::future<void>> results;
  const auto add = [&](int64_t number, int64_t tokens, const int* of, bool alone = false) {
    auto job = std::make_shared<NumberedJob>(number, tokens);
    job->group = of;
    job->alone = alone;
    results.push_back(held.submit(job));
  };
  add(0, 4, &group);
  add(1, 4, &other);
  add(2, 5, &group);
  add(3, 2, &group);  // would make 11
  add(4, 1, &group);  // 10
  add(5, 1, &group, /*alone=*/true);
  add(6, 99, &other);  // more than a batch: by itself
  EXPECT_EQ(held.let_go(), (std::vector<std::vector<int64_t>>{{0, 2, 4}, {1}, {3}, {5}, {6}}));
  for (auto& result : results) EXPECT_NO_THROW(result.get());
}

TEST(BatchQueueTest, TurnsAwayWhatDoesNotFit) {
  HeldQueue held({.max_jobs = 2});
  std::vector<std::future<void>> results;
  for (int64_t i = 0; i < 2; ++i) results.push_back(held.submit(std::make_shared<NumberedJob>(i)));
  NumberedJob third(2);
  BatchQueue::Expected expected(held.queue);
  try {
    held.queue.submit(third, expected);
    ADD_FAILURE() << "did not throw";
  } catch (const ServeRefusal& refusal) {
    EXPECT_EQ(refusal.status, 503);
    EXPECT_EQ(refusal.label, "busy");
    EXPECT_STREQ(refusal.what(),
                 "expected fewer than 2 waiting requests, got one more. Try again later");
  }
  held.let_go();
  for (auto& result : results) EXPECT_NO_THROW(result.get());
}

TEST(BatchQueueTest, RefusesWhatIsLateAndNeverRunsIt) {
  HeldQueue held({});
  NumberedJob late(0);
  late.deadline = Clock::now() + 20ms;
  BatchQueue::Expected expected(held.queue);
  try {
    held.queue.submit(late, expected);
    ADD_FAILURE() << "did not throw";
  } catch (const ServeRefusal& refusal) {
    EXPECT_EQ(refusal.status, 504);
    EXPECT_EQ(refusal.label, "deadline");
  }
  EXPECT_EQ(held.queue.num_waiting(), 0);
  EXPECT_TRUE(held.let_go().empty());
}

TEST(BatchQueueTest, ALateJobThatRunsStaysUntilItIsDone) {
  std::promise<void> hold;
  std::atomic<bool> ended = false;
  BatchQueue queue({}, [&](const std::vector<BatchJob*>&) {
    hold.get_future().wait();
    ended = true;
  });
  auto result = std::async(std::launch::async, [&] {
    NumberedJob job(0);
    job.deadline = Clock::now() + 10ms;
    BatchQueue::Expected expected(queue);
    EXPECT_THROWS_WITH((queue.submit(job, expected), 0), "deadline passed");
    EXPECT_TRUE(ended);
  });
  EXPECT_EQ(result.wait_for(50ms), std::future_status::timeout);
  hold.set_value();
  result.get();
}

TEST(BatchQueueTest, WaitsForExpectedJobsAlone) {
  std::vector<size_t> sizes;
  BatchQueue queue({.wait = 10s},
                   [&](const std::vector<BatchJob*>& batch) { sizes.push_back(batch.size()); });
  NumberedJob alone(0);
  {
    BatchQueue::Expected expected(queue);
    const auto start = Clock::now();
    queue.submit(alone, expected);
    EXPECT_LT(Clock::now() - start, 5s);  // not the 10 s: nobody else is expected
  }
  // A second one is announced before the first is submitted, and arrives after it.
  auto second = std::make_unique<BatchQueue::Expected>(queue);
  NumberedJob first_job(1), second_job(2);
  auto first = std::async(std::launch::async, [&] {
    BatchQueue::Expected expected(queue);
    queue.submit(first_job, expected);
  });
  while (queue.num_waiting() == 0) std::this_thread::yield();
  queue.submit(second_job, *second);
  first.get();
  // One that gives up lets go of those that waited for it.
  auto gives_up = std::make_unique<BatchQueue::Expected>(queue);
  NumberedJob third_job(3);
  auto third = std::async(std::launch::async, [&] {
    BatchQueue::Expected expected(queue);
    queue.submit(third_job, expected);
  });
  while (queue.num_waiting() == 0) std::this_thread::yield();
  gives_up.reset();
  EXPECT_EQ(third.wait_for(5s), std::future_status::ready);
  queue.stop();
  EXPECT_EQ(sizes, (std::vector<size_t>{1, 2, 1}));
}

// Three came at one moment: the next that come so are one batch, though none is announced. Time
// that a run took is time that is waited for them.
TEST(BatchQueueTest, WaitsForAsManyAsCameTogetherLately) {
  std::vector<size_t> sizes;
  std::promise<void> running;
  BatchQueue queue({.wait = 10s, .callers_run = true}, [&](const std::vector<BatchJob*>& batch) {
    sizes.push_back(batch.size());
    if (sizes.size() > 1) return;
    running.set_value();
    while (queue.num_waiting() < 2) std::this_thread::yield();
    std::this_thread::sleep_for(500ms);
  });
  const auto start = [&] {
    return std::async(std::launch::async, [&] {
      NumberedJob job(0);
      BatchQueue::Expected expected(queue);
      queue.submit(job, expected);
    });
  };
  std::vector<std::future<void>> together;
  together.push_back(start());
  running.get_future().wait();
  for (int job = 0; job < 2; ++job) together.push_back(start());
  for (auto& one : together) one.get();
  auto first = start();
  while (queue.num_waiting() == 0) std::this_thread::yield();
  auto second = start(), third = start();
  for (auto* one : {&first, &second, &third}) one->get();
  // Who comes alone waits for company of the last two batches, in vain, and then for nobody.
  for (int job = 0; job < 3; ++job) start().get();
  const auto before = Clock::now();
  start().get();
  EXPECT_LT(Clock::now() - before, 400ms);
  queue.stop();
  EXPECT_EQ(sizes, (std::vector<size_t>{1, 2, 3, 1, 1, 1, 1}));
}

TEST(BatchQueueTest, ACallerRunsItsJobWhereNobodyElseIs) {
  std::vector<std::thread::id> threads;
  BatchQueue queue({.callers_run = true}, [&](const std::vector<BatchJob*>&) {
    threads.push_back(std::this_thread::get_id());
  });
  NumberedJob first_job(0), second_job(1);
  {
    BatchQueue::Expected expected(queue);
    queue.submit(first_job, expected);
  }
  const BatchQueue::Expected another(queue);
  BatchQueue::Expected expected(queue);
  queue.submit(second_job, expected);
  ASSERT_EQ(threads.size(), 2u);
  EXPECT_EQ(threads[0], std::this_thread::get_id());
  EXPECT_NE(threads[1], std::this_thread::get_id());
}

TEST(BatchQueueTest, RunsOneBatchAtATime) {
  std::atomic<int> running = 0, at_once = 0, jobs = 0;
  BatchQueue queue({.max_tokens = 4, .callers_run = true},
                   [&](const std::vector<BatchJob*>& batch) {
                     at_once = std::max<int>(at_once, ++running);
                     std::this_thread::yield();
                     jobs += static_cast<int>(batch.size());
                     --running;
                   });
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 8; ++caller) {
    callers.emplace_back([&] {
      for (int turn = 0; turn < 500; ++turn) {
        NumberedJob job(turn);
        BatchQueue::Expected expected(queue);
        queue.submit(job, expected);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(at_once, 1);
  EXPECT_EQ(jobs, 8 * 500);
}

TEST(BatchQueueTest, PassesErrorsOnAndGoesOn) {
  int runs = 0;
  BatchQueue queue({}, [&](const std::vector<BatchJob*>&) {
    if (++runs == 1) throw std::runtime_error("no memory");
  });
  NumberedJob first(0), second(1);
  BatchQueue::Expected expected_first(queue), expected_second(queue);
  EXPECT_THROWS_WITH((queue.submit(first, expected_first), 0), "no memory");
  EXPECT_NO_THROW(queue.submit(second, expected_second));
}

TEST(BatchQueueTest, StopsAfterAnsweringWhatWaits) {
  HeldQueue held({});
  std::vector<std::future<void>> results;
  for (int64_t i = 0; i < 5; ++i) results.push_back(held.submit(std::make_shared<NumberedJob>(i)));
  EXPECT_EQ(held.let_go(), (std::vector<std::vector<int64_t>>{{0, 1, 2, 3, 4}}));
  for (auto& result : results) EXPECT_NO_THROW(result.get());
  NumberedJob after(9);
  BatchQueue::Expected expected(held.queue);
  EXPECT_THROWS_WITH((held.queue.submit(after, expected), 0), "being stopped");
}

}  // namespace
}  // namespace kvalign
