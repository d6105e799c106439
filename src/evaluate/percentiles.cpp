// See percentiles.h.
#include "kvalign/evaluate/percentiles.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "json_number.h"

namespace kvalign {

Percentiles percentiles_of(std::vector<double> values) {
  if (values.empty()) return {};
  if (std::any_of(values.begin(), values.end(), [](double value) { return std::isnan(value); })) {
    throw std::invalid_argument("percentiles_of: expected numbers, got NaN");
  }
  std::sort(values.begin(), values.end());
  const auto at = [&](double fraction) {
    const auto rank = static_cast<size_t>(std::ceil(fraction * static_cast<double>(values.size())));
    return values[std::max<size_t>(rank, 1) - 1];
  };
  return {.p50 = at(0.5), .p95 = at(0.95), .max = values.back()};
}

nlohmann::json to_json(const Percentiles& percentiles) {
  return {{"p50", number(percentiles.p50)},
          {"p95", number(percentiles.p95)},
          {"max", number(percentiles.max)}};
}

}  // namespace kvalign
