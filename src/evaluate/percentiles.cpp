// See percentiles.h.
#include "kvalign/evaluate/percentiles.h"

#include <algorithm>
#include <cmath>

namespace kvalign {

Percentiles percentiles_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&](double fraction) {
    const auto rank = static_cast<size_t>(std::ceil(fraction * static_cast<double>(values.size())));
    return values[std::max<size_t>(rank, 1) - 1];
  };
  return {.p50 = at(0.5), .p95 = at(0.95), .max = values.back()};
}

}  // namespace kvalign
