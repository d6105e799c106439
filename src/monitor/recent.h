// The latest numbers of requests, for the status page: what counters and buckets no longer tell.
// Private to monitor/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

namespace kvalign {

// The last `kCapacity` values that came.
template <class Value, size_t kCapacity>
class Latest {
 public:
  void add(const Value& value) {
    values_.push_back(value);
    if (values_.size() > kCapacity) values_.pop_front();
  }
  const std::deque<Value>& values() const { return values_; }

 private:
  std::deque<Value> values_;
};

// An error of the request that was the `request`-th to be answered.
struct ErrorPoint {
  int64_t request = 0;
  double error = 0;
};

struct Recent {
  int64_t requests = 0;                                         // all there were
  std::map<std::string, Latest<double, 1000>> seconds;          // of each phase
  Latest<ErrorPoint, 200> certified_wire, certified, measured;  // more would blur in a plot
};

}  // namespace kvalign
