// Confidence limits of a mean. See mean_interval.h.
#include "kvalign/bounds/mean_interval.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "check.h"

namespace kvalign {
namespace {

constexpr double kLargestBet = 0.75;
constexpr double kSmallestVariance = 1e-8;  // bets stay finite where samples are all alike

double mean_of(std::span<const double> samples) {
  return std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
}

// Samples in [0, 1]; the excess of the limit over their mean.
double hoeffding_excess(std::span<const double> samples, double error) {
  return std::sqrt(-std::log(error) / (2 * static_cast<double>(samples.size())));
}

double bernstein_excess(std::span<const double> samples, double error) {
  const auto n = static_cast<double>(samples.size());
  const double mean = mean_of(samples), log = std::log(2 / error);
  double squares = 0;
  for (const double sample : samples) squares += (sample - mean) * (sample - mean);
  const double variance = squares / (n - 1);
  return std::sqrt(2 * variance * log / n) + 7 * log / (3 * (n - 1));
}

// The bet on each sample from those before it.
std::vector<double> bets_of(std::span<const double> samples, double error) {
  const auto n = static_cast<double>(samples.size());
  double sum = 0.5, squares = 0.25, seen = 1;  // one sample of 1/2 with variance 1/4 to begin with
  std::vector<double> bets;
  bets.reserve(samples.size());
  for (const double sample : samples) {
    const double variance = std::max(squares / seen, kSmallestVariance);
    bets.push_back(std::min(std::sqrt(-2 * std::log(error) / (n * variance)), kLargestBet));
    sum += sample;
    seen += 1;
    squares += std::pow(sample - sum / seen, 2);
  }
  return bets;
}

// Did capital against `mean` ever exceed 1 / error? It grows with `mean`, bet by bet.
bool rejects(double mean, std::span<const double> samples, std::span<const double> bets,
             double error) {
  double capital = 0, largest = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    capital += std::log1p(bets[i] * (mean - samples[i]));
    largest = std::max(largest, capital);
  }
  return largest > raised(-std::log(error), 8 * static_cast<double>(samples.size()) + 8);
}

double betting_limit(std::span<const double> samples, double error) {
  const std::vector<double> bets = bets_of(samples, error);
  double accepted = 0, rejected = 1;
  if (!rejects(rejected, samples, bets, error)) return 1;
  for (int halving = 0; halving < 60; ++halving) {
    const double middle = (accepted + rejected) / 2;
    (rejects(middle, samples, bets, error) ? rejected : accepted) = middle;
  }
  return rejected;
}

double unit_upper(std::span<const double> samples, double error, MeanMethod method) {
  if (method == MeanMethod::kBetting) return betting_limit(samples, error);
  const double excess = method == MeanMethod::kHoeffding ? hoeffding_excess(samples, error)
                                                         : bernstein_excess(samples, error);
  return std::min(raised(mean_of(samples) + excess, static_cast<double>(samples.size()) + 16), 1.0);
}

void check_samples(std::span<const double> samples, const DeclaredRange& range, double confidence,
                   MeanMethod method) {
  const size_t least = method == MeanMethod::kEmpiricalBernstein ? 2 : 1;
  check(samples.size() >= least, "mean limit: expected at least ", least, " samples, got ",
        samples.size());
  check(range.low < range.high && std::isfinite(range.high - range.low),
        "mean limit: expected a range with low < high, got ", range.low, " to ", range.high);
  check(confidence > 0 && confidence < 1, "mean limit: expected a confidence in (0, 1), got ",
        confidence);
  for (const double sample : samples) {
    check(sample >= range.low && sample <= range.high, "mean limit: expected samples in [",
          range.low, ", ", range.high, "], got ", sample,
          ". Declare a range that every sample obeys, or clip samples and say so");
  }
}

}  // namespace

Statistical mean_upper(std::span<const double> samples, const DeclaredRange& range,
                       double confidence, MeanMethod method) {
  check_samples(samples, range, confidence, method);
  const double width = range.high - range.low;
  std::vector<double> unit;
  unit.reserve(samples.size());
  for (const double sample : samples) {
    unit.push_back(std::min((sample - range.low) / width, 1.0));
  }
  const double limit = unit_upper(unit, 1 - confidence, method);
  return Statistical(range.low + width * limit, confidence);
}

Statistical mean_lower(std::span<const double> samples, const DeclaredRange& range,
                       double confidence, MeanMethod method) {
  std::vector<double> negative(samples.begin(), samples.end());
  for (double& sample : negative) sample = -sample;
  const Statistical upper =
      mean_upper(negative, {.low = -range.high, .high = -range.low}, confidence, method);
  return Statistical(-upper.value(), confidence);
}

}  // namespace kvalign
