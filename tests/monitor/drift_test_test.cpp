// The drift test's promises: no more false alarms than it says, in simulations that know the truth;
// an alarm where requests do shift; and that ranks among the reference alone would break the first.
#include "kvalign/monitor/drift_test.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "src/monitor/betting_martingale.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using Draw = std::function<double(std::mt19937_64&)>;

double normal(std::mt19937_64& random) {
  return std::normal_distribution<double>()(random);
}

std::vector<double> draws(const Draw& draw, size_t count, std::mt19937_64& random) {
  std::vector<double> values(count);
  for (double& value : values) value = draw(random);
  return values;
}

// Of `count` independent events of probability `p`, what is exceeded once in 700.
double most_of(double count, double p) {
  return count * p + 3 * std::sqrt(count * p * (1 - p));
}

// Ranks of equal scores must not be drawn by the generator that drew the scores.
int64_t seed_of_ranks(int64_t run) {
  return 1000000 + run;
}

struct Simulation {
  size_t reference = 200;
  int64_t requests = 1000;
  DriftOptions options = {.alpha = 0.05, .round_requests = 1000};
  Draw draw = normal;
};

int64_t alarms_without_drift(const Simulation& simulation, int64_t run) {
  std::mt19937_64 random(static_cast<uint64_t>(run));
  DriftOptions options = simulation.options;
  options.seed = seed_of_ranks(run);
  DriftTest test(draws(simulation.draw, simulation.reference, random), options);
  for (int64_t i = 0; i < simulation.requests; ++i) test.observe(simulation.draw(random));
  return test.state().alarms;
}

constexpr int64_t kRuns = 2000;

double alarms_of_all_runs(const Simulation& simulation) {
  int64_t alarms = 0;
  for (int64_t run = 0; run < kRuns; ++run) alarms += alarms_without_drift(simulation, run);
  return static_cast<double>(alarms);
}

TEST(DriftTest, FalseAlarmsStayBelowTheirRate) {
  const double alarms = alarms_of_all_runs({});
  RecordProperty("alarms_of_2000", std::to_string(alarms));
  EXPECT_LE(alarms, most_of(kRuns, 0.05));
  EXPECT_GE(alarms, 0.1 * 0.05 * kRuns);  // nor is it so cautious that it would never speak
}

// Scores of few distinct values, and a reference that is smaller than what is compared with it.
TEST(DriftTest, FalseAlarmsStayBelowTheirRateWithTiesAndAFewReferences) {
  const double alarms = alarms_of_all_runs({.reference = 10, .draw = [](std::mt19937_64& random) {
                                              return std::round(normal(random));
                                            }});
  EXPECT_LE(alarms, most_of(kRuns, 0.05));
}

TEST(DriftTest, EveryRoundHasTheRateAgain) {
  const double alarms =
      alarms_of_all_runs({.requests = 1000, .options = {.alpha = 0.05, .round_requests = 100}});
  // Rounds of one run share its reference, so alarms come in clusters: of ten rounds a run, the
  // variance is at most ten times that of independent ones.
  EXPECT_LE(alarms, 10 * kRuns * 0.05 + 3 * std::sqrt(10 * 10 * kRuns * 0.05 * 0.95));
}

// What is not done: each rank is uniform over references, but with one reference they lean alike.
TEST(DriftTest, RanksAmongTheReferenceAloneWouldRaiseFalseAlarms) {
  constexpr int kFewerRuns = 100;
  int alarms = 0;
  for (int run = 0; run < kFewerRuns; ++run) {
    std::mt19937_64 random(static_cast<uint64_t>(run));
    std::vector<double> reference = draws(normal, 200, random);
    std::sort(reference.begin(), reference.end());
    BettingMartingale martingale;
    double maximum = 0;
    for (int i = 0; i < 5000; ++i) {
      const auto larger =
          reference.end() - std::upper_bound(reference.begin(), reference.end(), normal(random));
      const double uniform = std::uniform_real_distribution<double>()(random);
      martingale.bet((static_cast<double>(larger) + uniform) / 201);
      maximum = std::max(maximum, martingale.log10_capital());
    }
    if (maximum >= -std::log10(0.05)) ++alarms;
  }
  EXPECT_GT(alarms, most_of(kFewerRuns, 0.05));
}

// Requests after the first 500 come from `drifted`; how many of them it takes, at most, in 95 of
// 100 runs.
int64_t requests_to_alarm(const Draw& drifted) {
  std::vector<int64_t> needed;
  for (int64_t run = 0; run < 100; ++run) {
    std::mt19937_64 random(static_cast<uint64_t>(run));
    DriftTest test(draws(normal, 400, random), {.alpha = 0.001, .seed = seed_of_ranks(run)});
    for (int i = 0; i < 500; ++i) test.observe(normal(random));
    if (test.state().alarm) continue;
    int64_t count = 0;
    while (!test.state().alarm && count < 2000) test.observe(drifted(random)), ++count;
    needed.push_back(count);
  }
  std::sort(needed.begin(), needed.end());
  return needed[needed.size() * 95 / 100];
}

TEST(DriftTest, SeesAShiftWithinTheRequestsItSays) {
  EXPECT_LE(requests_to_alarm([](auto& random) { return 5 + normal(random); }), 30);
  EXPECT_LE(requests_to_alarm([](auto& random) { return 1 + normal(random); }), 90);
  EXPECT_LE(requests_to_alarm([](auto& random) { return normal(random) - 1; }), 90);
  EXPECT_LE(requests_to_alarm([](auto& random) { return 3 * normal(random); }), 75);
  EXPECT_LE(requests_to_alarm([](auto& random) { return normal(random) / 3; }), 75);
}

TEST(DriftTest, AnAlarmEndsWhenAWholeRoundWentByWithoutOne) {
  DriftTest test({-2, -1, 0, 1, 2}, {.alpha = 0.001, .round_requests = 200});
  for (int i = 0; i < 200; ++i) test.observe(100 + i);
  EXPECT_TRUE(test.state().alarm);
  EXPECT_EQ(test.state().alarms, 1);
  std::mt19937_64 random(1);
  for (int i = 0; i < 200; ++i) test.observe(normal(random));
  EXPECT_TRUE(test.state().alarm) << "that round may only now end";
  EXPECT_EQ(test.state().finished_rounds, 1);
  test.observe(normal(random));
  EXPECT_FALSE(test.state().alarm);
  EXPECT_EQ(test.state().alarms, 1);
  EXPECT_EQ(test.state().finished_rounds, 2);
  EXPECT_EQ(test.state().requests, 1);
}

TEST(DriftTest, ThePValueIsOneOverTheLargestCapital) {
  DriftTest test({0, 1, 2}, {.alpha = 0.001});
  EXPECT_EQ(test.state().p_value(), 1);
  for (int i = 0; i < 50; ++i) test.observe(10 + i);
  EXPECT_NEAR(std::log10(test.state().p_value()), -test.state().log10_maximum, 1e-12);
  EXPECT_GE(test.state().log10_maximum, test.state().log10_martingale);
}

TEST(DriftTest, ScoresThatAreNoNumbersRankAsTheLargest) {
  const std::vector<double> reference(99, 0.0);
  DriftTest test(reference, {});
  EXPECT_LT(test.observe(std::numeric_limits<double>::quiet_NaN()), 0.0101);
  EXPECT_GT(test.observe(-std::numeric_limits<double>::infinity()), 0.99);
}

TEST(DriftTest, RefusesAReferenceThatSaysNothing) {
  EXPECT_THROWS_WITH(DriftTest({}, {}), "expected a reference of at least one score, got none");
  EXPECT_THROWS_WITH(DriftTest({0, INFINITY}, {}),
                     "expected finite scores in the reference, got inf at place 1");
}

TEST(DriftTest, RefusesOptionsOutOfTheirLimits) {
  EXPECT_THROWS_WITH(DriftTest({0}, {.alpha = 0}), "alpha");
  EXPECT_THROWS_WITH(DriftTest({0}, {.round_requests = 0}), "round_requests");
}

// A capital after k bets is a polynomial of degree 2 in each p, and Gauss's two nodes integrate
// degree 3 exactly: so the mean over all 2^k sequences of nodes is the mean over uniform p.
TEST(BettingMartingale, ItsMeanIsOne) {
  constexpr int kBets = 10;
  const double nodes[] = {(1 - 1 / std::sqrt(3.0)) / 2, (1 + 1 / std::sqrt(3.0)) / 2};
  double sum = 0;
  for (int sequence = 0; sequence < 1 << kBets; ++sequence) {
    BettingMartingale martingale;
    for (int i = 0; i < kBets; ++i) martingale.bet(nodes[sequence >> i & 1]);
    sum += std::pow(10, martingale.log10_capital());
  }
  EXPECT_NEAR(sum / (1 << kBets), 1, 1e-12);
}

TEST(BettingMartingale, IsNeverBankrupt) {
  BettingMartingale martingale;
  for (int i = 0; i < 1000; ++i) martingale.bet(i % 2), martingale.bet(0.5);
  EXPECT_TRUE(std::isfinite(martingale.log10_capital()));
}

}  // namespace
}  // namespace kvalign
