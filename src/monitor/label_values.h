// The values that one label of the metrics may have: a bounded number, whatever comes. Each costs a
// time series for every other label's value, here and at everyone who scrapes. Private to monitor/.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace kvalign {

class LabelValues {
 public:
  // `known` ones are always admitted; of others the first `room` that are words of at most 32 of
  // a-z, 0-9 and _.
  explicit LabelValues(std::vector<std::string> known, size_t room = 0);

  // The value itself where it is admitted, "none" where it is empty, else "other".
  std::string admit(std::string_view value);

 private:
  std::unordered_set<std::string> admitted_;
  size_t room_;
};

}  // namespace kvalign
