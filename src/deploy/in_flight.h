// Who is being answered: what stop() waits for, and what limits texts at once. Private to deploy/.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>

#include "kvalign/serve/inference_service.h"

namespace kvalign {

// Counts what is being answered, so that stop() can wait for it.
class InFlight {
 public:
  class Entry {
   public:
    explicit Entry(InFlight& owner) : owner_(owner) {
      const std::lock_guard lock(owner.mutex_);
      if (owner.stopped_) throw ServeRefusal(503, "busy", "the service is being stopped");
      ++owner.count_;
    }
    ~Entry() {
      const std::lock_guard lock(owner_.mutex_);
      if (--owner_.count_ == 0) owner_.none_.notify_all();
    }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

   private:
    InFlight& owner_;
  };

  bool is_stopped() const {
    const std::lock_guard lock(mutex_);
    return stopped_;
  }
  void stop() {
    std::unique_lock lock(mutex_);
    stopped_ = true;
    none_.wait(lock, [&] { return count_ == 0; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable none_;
  int64_t count_ = 0;
  bool stopped_ = false;
};

// One of the texts at once that the options allow.
class GenerationSlot {
 public:
  GenerationSlot(std::atomic<int64_t>& used, int64_t limit) : used_(used) {
    if (used_.fetch_add(1) < limit) return;
    used_.fetch_sub(1);
    throw ServeRefusal(503, "busy",
                       "expected at most " + std::to_string(limit) +
                           " texts at once, got one more. Try again later");
  }
  ~GenerationSlot() { used_.fetch_sub(1); }
  GenerationSlot(const GenerationSlot&) = delete;
  GenerationSlot& operator=(const GenerationSlot&) = delete;

 private:
  std::atomic<int64_t>& used_;
};

}  // namespace kvalign
