// Threads for connections. See the header.
#include "worker_pool.h"

#include <system_error>
#include <utility>

namespace kvalign {

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
  }
  has_task_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool WorkerPool::try_run(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  if (busy_ == most_) return false;
  if (busy_ == threads_.size()) {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      return false;  // the machine has no more threads: as full as by the limit
    }
  }
  ++busy_;
  tasks_.push_back(std::move(task));
  has_task_.notify_one();
  return true;
}

bool WorkerPool::is_full() const {
  const std::lock_guard lock(mutex_);
  return busy_ == most_;
}

bool WorkerPool::wait_until_idle(std::chrono::duration<double> limit) {
  std::unique_lock lock(mutex_);
  return is_idle_.wait_for(lock, limit, [this] { return busy_ == 0; });
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    has_task_.wait(lock, [this] { return is_closed_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    lock.lock();
    if (--busy_ == 0) is_idle_.notify_all();
  }
}

}  // namespace kvalign
