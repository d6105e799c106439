// See spread.h.
#include "kvalign/benchmark/spread.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace kvalign::benchmark {

Spread spread_of(std::vector<double> values) {
  if (values.empty()) throw std::invalid_argument("spread_of: expected numbers, got none");
  if (std::any_of(values.begin(), values.end(), [](double value) { return std::isnan(value); })) {
    throw std::invalid_argument("spread_of: expected numbers, got NaN");
  }
  std::sort(values.begin(), values.end());
  const auto at = [&](double fraction) {
    const double place = fraction * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  };
  return {.median = at(0.5), .p10 = at(0.1), .p90 = at(0.9)};
}

Spread ratio_of(const std::vector<double>& values, const std::vector<double>& baseline) {
  if (values.size() != baseline.size()) {
    throw std::invalid_argument("ratio_of: expected as many rounds of both, got " +
                                std::to_string(values.size()) + " and " +
                                std::to_string(baseline.size()));
  }
  std::vector<double> ratios;
  for (size_t round = 0; round < values.size(); ++round) {
    ratios.push_back(values[round] / baseline[round]);
  }
  return spread_of(std::move(ratios));
}

double noise_factor(const Spread& again) {
  return std::max({1.0, again.p90, 1 / again.p10});
}

Verdict judge(const Spread& ratio, double noise_factor) {
  if (std::max(ratio.median, 1 / ratio.median) <= noise_factor) return Verdict::kEqual;
  return ratio.median < 1 ? Verdict::kFaster : Verdict::kSlower;
}

const char* verdict_name(Verdict verdict) {
  return verdict == Verdict::kFaster ? "faster" : verdict == Verdict::kEqual ? "equal" : "slower";
}

}  // namespace kvalign::benchmark
