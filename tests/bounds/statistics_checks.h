// Checks of statistical limits: how often limits of means miss, by simulation against the binomial
// distribution of misses; ranks and rates exactly, by sums of binomial probabilities.
#pragma once

#include <functional>
#include <optional>

#include "kvalign/bounds/mean_interval.h"
#include "kvalign/bounds/quantile_limit.h"
#include "kvalign/bounds/rate_limit.h"
#include "tests/bounds/trials.h"

namespace kvalign::testing {

using MeanLimit = std::function<double(std::span<const double>, const DeclaredRange&, double)>;
using RankRule = std::function<std::optional<int64_t>(int64_t, double, double)>;
using ConformalRule = std::function<double(std::span<const double>, double)>;
using RateLimit = std::function<double(const EventCount&, double)>;
using DegradationLimit = std::function<double(const PairedOutcomes&, double)>;

inline long double binomial_probability(int64_t n, int64_t k, long double p) {
  if (p <= 0) return k == 0;
  if (p >= 1) return k == n;
  const long double choices =
      std::lgamma(n + 1.0L) - std::lgamma(k + 1.0L) - std::lgamma(n - k + 1.0L);
  return std::exp(choices + k * std::log(p) + (n - k) * std::log1p(-p));
}
inline long double binomial_at_most(int64_t n, int64_t k, long double p) {
  long double sum = 0;
  for (int64_t i = 0; i <= k; ++i) sum += binomial_probability(n, i, p);
  return sum;
}

// More misses than this out of `trials` have a probability below 1e-5 at the nominal rate.
inline int64_t most_misses(int64_t trials, double rate) {
  int64_t misses = 0;
  while (1 - binomial_at_most(trials, misses, rate) > 1e-5L) ++misses;
  return misses;
}

// Four laws on [2, 7]: skew, rare, rare on a pedestal, uniform. One violation a law that misses
// more often than 1 - confidence allows.
inline Tightness check_mean_limit(const MeanLimit& limit, int64_t repeats, uint64_t seed) {
  constexpr double kConfidence = 0.9;
  const DeclaredRange range{2, 7};
  Random random(seed);
  Tightness result;
  const double means[] = {1.0 / 3, 0.004, 0.1 + 0.9 * 0.01, 0.5};
  for (int law = 0; law < 4; ++law) {
    int64_t misses = 0;
    for (int64_t repeat = 0; repeat < repeats; ++repeat) {
      std::vector<double> samples(100);
      for (double& sample : samples) {
        const double u = random.uniform(0, 1);
        const double unit[] = {u * u, u < 0.004 ? 1.0 : 0.0, u < 0.01 ? 1.0 : 0.1, u};
        sample = 2 + 5 * unit[law];
      }
      misses += limit(samples, range, kConfidence) < 2 + 5 * means[law];
    }
    result.add_condition(misses <= most_misses(repeats, 1 - kConfidence));
  }
  return result;
}

// The smallest rank that is enough, no other.
inline Tightness check_tolerance_rank(const RankRule& rule) {
  Tightness result;
  for (const int64_t n : {1, 20, 58, 59, 60, 100, 298, 299, 300, 1000}) {
    for (const double coverage : {0.5, 0.9, 0.95, 0.99}) {
      const std::optional<int64_t> rank = rule(n, coverage, 0.95);
      const auto confidence = [&](int64_t k) { return binomial_at_most(n, k - 1, coverage); };
      result.add_condition(rank ? confidence(*rank) >= 0.95L && confidence(*rank - 1) < 0.95L
                                : confidence(n) < 0.95L);
    }
  }
  return result;
}

// Samples 1 .. n: the limit is its own rank, and covers a fraction rank / (n + 1) of next samples.
inline Tightness check_conformal(const ConformalRule& rule) {
  Tightness result;
  for (const int n : {9, 19, 20, 99, 100, 1000}) {
    std::vector<double> samples;
    for (int i = n; i >= 1; --i) samples.push_back(i);
    for (const double coverage : {0.5, 0.8, 0.9, 0.95, 0.999}) {
      const double rank = rule(samples, coverage);
      result.add_condition(std::isinf(rank) ? coverage * (n + 1) > n
                                            : rank >= coverage * (n + 1) - 1e-9 &&
                                                  rank - 1 < coverage * (n + 1));
    }
  }
  return result;
}

// For rates between those where a limit jumps, the exact probability that it lies on the wrong
// side.
inline Tightness check_rate_limit(const RateLimit& limit, bool upper) {
  Tightness result;
  for (const int64_t n : {1, 10, 60, 200}) {
    std::vector<double> limits;
    for (int64_t k = 0; k <= n; ++k) limits.push_back(limit({k, n}, 0.95));
    for (const double jump : limits) {
      for (const double rate : {jump * (1 - 1e-9), jump * (1 + 1e-9)}) {
        if (rate <= 0 || rate >= 1) continue;
        long double miss = 0;
        for (int64_t k = 0; k <= n; ++k) {
          const bool wrong = upper ? limits[k] < rate : limits[k] > rate;
          if (wrong) miss += binomial_probability(n, k, rate);
        }
        result.add_condition(miss <= 0.05L);
      }
    }
  }
  return result;
}

// Misses by simulation where both kinds of disagreement are frequent, and power: with 2,500
// samples, 4 % of them discordant and a true difference of 1 point, fewer than 2 points are shown.
inline Tightness check_degradation(const DegradationLimit& limit, int64_t repeats, uint64_t seed) {
  Random random(seed);
  Tightness result;
  for (const double worse : {0.12, 0.05, 0.01}) {
    int64_t misses = 0;
    for (int64_t repeat = 0; repeat < repeats; ++repeat) {
      PairedOutcomes outcomes{.samples = 200};
      for (int64_t sample = 0; sample < outcomes.samples; ++sample) {
        const double u = random.uniform(0, 1);
        outcomes.only_reference_right += u < worse;
        outcomes.only_ours_right += u >= worse && u < worse + 0.1;
      }
      misses += limit(outcomes, 0.95) < worse - 0.1;
    }
    result.add_condition(misses <= most_misses(repeats, 0.05));
  }
  result.add_condition(limit({2500, 62, 37}, 0.95) < 0.03);
  return result;
}

}  // namespace kvalign::testing
