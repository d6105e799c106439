// The series of one family by their labels' values. Private to monitor/.
#pragma once

#include <prometheus/family.h>

#include <array>
#include <cstddef>
#include <map>
#include <string>

namespace kvalign {

// Finds again what it found once: the family alone builds a new metric at each look, to throw it
// away where there is one, which is most of the time that a request would take. Not for several
// threads at once.
template <class Metric, size_t kNumLabels>
class Series {
 public:
  using Names = std::array<const char*, kNumLabels>;
  using Values = std::array<std::string, kNumLabels>;

  Series(prometheus::Family<Metric>& family, const Names& names) : family_(family), names_(names) {}

  // `arguments` are those of a new metric.
  template <class... Arguments>
  Metric& at(const Values& values, const Arguments&... arguments) {
    const auto found = found_.find(values);
    if (found != found_.end()) return *found->second;
    prometheus::Labels labels;
    for (size_t i = 0; i < kNumLabels; ++i) labels[names_[i]] = values[i];
    Metric& metric = family_.Add(labels, arguments...);
    found_.emplace(values, &metric);
    return metric;
  }

 private:
  prometheus::Family<Metric>& family_;
  Names names_;
  std::map<Values, Metric*> found_;
};

}  // namespace kvalign
