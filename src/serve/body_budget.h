// How many bytes of bodies may be in memory at once, over all connections. Private to serve/.
#pragma once

#include <atomic>
#include <cstdint>

namespace kvalign {

class BodyBudget {
 public:
  explicit BodyBudget(int64_t bytes) : left_(bytes) {}

  /// Gives back in its destructor what it took.
  class Share {
   public:
    explicit Share(BodyBudget& budget) : budget_(budget) {}
    ~Share() { budget_.left_ += taken_; }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    /// Takes `bytes` more. Throws ServeRefusal (503 "busy") where that many are not left.
    void take(int64_t bytes);

   private:
    BodyBudget& budget_;
    int64_t taken_ = 0;
  };

 private:
  std::atomic<int64_t> left_;
};

}  // namespace kvalign
