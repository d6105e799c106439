// Ranks, rounds and the alarm. See drift_test.h.
#include "kvalign/monitor/drift_test.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>

#include "betting_martingale.h"

namespace kvalign {
namespace {

std::vector<double> sorted_reference(std::vector<double> scores) {
  if (scores.empty()) {
    throw std::invalid_argument("DriftTest: expected a reference of at least one score, got none");
  }
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isfinite(scores[i])) continue;
    throw std::invalid_argument("DriftTest: expected finite scores in the reference, got " +
                                std::to_string(scores[i]) + " at place " + std::to_string(i) +
                                ". Leave out the sequences that have no score.");
  }
  std::sort(scores.begin(), scores.end());
  return scores;
}

}  // namespace

double DriftState::p_value() const {
  return std::min(1.0, std::pow(10.0, -log10_maximum));
}

struct DriftTest::Impl {
  Impl(const std::vector<double>& scores, const DriftOptions& drift_options)
      : options(drift_options),
        reference(sorted_reference(scores)),
        seen(reference),
        random(static_cast<uint64_t>(drift_options.seed)) {
    validate_options(options);
    seen.reserve(reference.size() + static_cast<size_t>(options.round_requests));
  }

  void begin_round() {
    seen = reference;
    martingale = BettingMartingale();
    alarm_before = alarm_now;
    alarm_now = false;
    ++state.finished_rounds;
    state.requests = 0;
    state.log10_martingale = state.log10_maximum = 0;
    state.alarm = alarm_before;
  }

  // The part of all scores seen that is larger, this one's place among equal ones drawn at random.
  double rank(double score) {
    const auto [first, last] = std::equal_range(seen.begin(), seen.end(), score);
    const double larger = static_cast<double>(seen.end() - last);
    const double equal = static_cast<double>(last - first) + 1;
    seen.insert(last, score);
    const double uniform = std::ldexp(static_cast<double>(random() >> 11), -53);
    return (larger + uniform * equal) / static_cast<double>(seen.size());
  }

  DriftOptions options;
  std::vector<double> reference;  // sorted
  std::vector<double> seen;       // sorted: the reference and this round's requests
  std::mt19937_64 random;
  BettingMartingale martingale;
  DriftState state;
  bool alarm_now = false, alarm_before = false;  // in this round; in the one before
};

DriftTest::DriftTest(const std::vector<double>& reference, const DriftOptions& options)
    : impl_(std::make_unique<Impl>(reference, options)) {}
DriftTest::~DriftTest() = default;
DriftTest::DriftTest(DriftTest&&) noexcept = default;
DriftTest& DriftTest::operator=(DriftTest&&) noexcept = default;

double DriftTest::observe(double score) {
  Impl& test = *impl_;
  DriftState& state = test.state;
  if (state.requests == test.options.round_requests) test.begin_round();
  const double p = test.rank(std::isnan(score) ? std::numeric_limits<double>::infinity() : score);
  test.martingale.bet(p);
  ++state.requests;
  state.log10_martingale = test.martingale.log10_capital();
  state.log10_maximum = std::max(state.log10_maximum, state.log10_martingale);
  if (!test.alarm_now && state.log10_maximum >= -std::log10(test.options.alpha)) {
    test.alarm_now = true;
    ++state.alarms;
  }
  state.alarm = test.alarm_now || test.alarm_before;
  return p;
}

const DriftState& DriftTest::state() const {
  return impl_->state;
}

}  // namespace kvalign
