// Threads that are made when they are needed, up to a limit, and then kept. Private to serve/.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace kvalign {

class WorkerPool {
 public:
  explicit WorkerPool(size_t most) : most_(most) {}
  ~WorkerPool();  ///< waits for all tasks
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Runs `task`, which must not throw, in a thread at once; false where all are busy.
  bool try_run(std::function<void()> task);

  /// Whether the next task would be refused.
  bool is_full() const;

  /// Waits until no task runs; false where that takes longer than `limit`.
  bool wait_until_idle(std::chrono::duration<double> limit);

 private:
  void work();

  const size_t most_;
  size_t busy_ = 0;  // tasks that run or wait for the thread that was woken for them
  bool is_closed_ = false;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  mutable std::mutex mutex_;
  std::condition_variable has_task_;
  std::condition_variable is_idle_;
};

}  // namespace kvalign
