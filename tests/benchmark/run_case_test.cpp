// Cases on a scripted stopwatch: rows, ratios and percentages worked out by hand, and subjects that
// are wrong.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "kvalign/benchmark/case.h"
#include "tests/support/throws.h"

namespace kvalign::benchmark {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Two subjects whose calls take 0.25 s and 0.5 s of a clock that only they move; the numbers of the
// seeds whose buffers were used.
class RunCase : public ::testing::Test {
 protected:
  Subject subject(const std::string& name, double seconds, uint64_t seed) {
    return {.name = name,
            .run =
                [this, name, seconds, seed] {
                  now_ += seconds;
                  seeds_[name].push_back(seed);
                  return std::vector{at::full({2}, 3.0f)};
                },
            .reference = [] { return std::vector{at::full({2}, 3.0, at::kDouble)}; }};
  }
  Case two_subjects() {
    return {.suite = "suite",
            .name = "case",
            .dtype = at::kFloat,
            .flops = 100,
            .bytes = 1000,
            .make = [this](uint64_t seed) {
              Subject baseline = subject("baseline", 0.5, seed);
              baseline.is_baseline = true;
              return std::vector{subject("ours", 0.25, seed), baseline};
            }};
  }
  Bench bench(int64_t cache_bytes) {
    return {.device = at::kCPU,
            .stopwatch =
                [this](const std::function<void()>& work) {
                  const double start = now_;
                  work();
                  return now_ - start;
                },
            .turns = {.rounds = 5},
            .limits = {.copy_bytes_per_second = 8000,
                       .float32_flops_per_second = 1000,
                       .bfloat16_flops_per_second = 1,
                       .empty_call_seconds = 0},
            .cache_bytes = cache_bytes,
            .threads = 3};
  }
  double now_ = 0;
  std::map<std::string, std::vector<uint64_t>> seeds_;
};

TEST_F(RunCase, RowsHaveRatiosAndPercentages) {
  const auto results = run_case(two_subjects(), bench(/*cache_bytes=*/10));
  ASSERT_EQ(results.size(), 1);
  const auto& [ours, baseline] = std::tie(results[0][0], results[0][1]);
  EXPECT_EQ(ours.variant, "ours");
  EXPECT_EQ(ours.buffers, "cold");
  EXPECT_EQ(ours.threads, 3);
  EXPECT_EQ(ours.rounds, 5);
  EXPECT_THAT(ours.milliseconds.median, DoubleNear(250, 1e-9));
  EXPECT_THAT(ours.first_call_ms, DoubleNear(250, 1e-9));
  ASSERT_EQ(ours.ratios.size(), 1);
  EXPECT_EQ(ours.ratios[0].baseline, "baseline");
  EXPECT_THAT(ours.ratios[0].ratio.median, DoubleNear(0.5, 1e-9));
  EXPECT_EQ(ours.ratios[0].verdict, Verdict::kFaster);
  EXPECT_THAT(ours.noise.median, DoubleNear(1, 1e-9));
  EXPECT_THAT(ours.percent_of_peak, DoubleNear(40, 1e-6));  // 100 / 0.25 of 1000 a second
  EXPECT_THAT(ours.percent_of_copy, DoubleNear(50, 1e-6));  // 1000 / 0.25 of 8000 a second
  EXPECT_EQ(ours.relative_error, 0);
  EXPECT_TRUE(baseline.ratios.empty());
}

// 1000 bytes are not twice 1250: three sets are.
TEST_F(RunCase, ColdBuffersRotateHotOnesDoNot) {
  const auto results = run_case(two_subjects(), bench(/*cache_bytes=*/1250));
  ASSERT_EQ(results.size(), 2);
  EXPECT_EQ(results[0][0].buffers, "hot");
  EXPECT_TRUE(std::isnan(results[0][0].percent_of_copy));
  EXPECT_EQ(results[1][0].buffers, "cold");
  // First call and five rounds of hot buffers, then as many of cold ones.
  EXPECT_THAT(seeds_["baseline"], ElementsAre(1, 1, 1, 1, 1, 1, 1, 2, 3, 1, 2, 3));
  seeds_.clear();
  Case cold_alone = two_subjects();
  cold_alone.hot = false;
  EXPECT_EQ(run_case(cold_alone, bench(1250)).size(), 1);
  EXPECT_THAT(seeds_["baseline"], ElementsAre(1, 2, 3, 1, 2, 3));
}

TEST_F(RunCase, AWrongVariantEndsTheRun) {
  Case item = two_subjects();
  item.make = [this](uint64_t seed) {
    Subject wrong = subject("wrong", 1, seed);
    wrong.reference = [] { return std::vector{at::full({2}, 3.001, at::kDouble)}; };
    return std::vector{subject("ours", 1, seed), wrong};
  };
  EXPECT_THROWS_WITH(run_case(item, bench(10)),
                     "suite, case: 'wrong' is wrong, so nothing is timed: expected a relative "
                     "error of at most 1e-05 against float64, got 0.000333");
  EXPECT_EQ(seeds_["ours"].size(), 1);
}

// A NaN is above every limit.
TEST_F(RunCase, NotANumberIsWrong) {
  Case item = two_subjects();
  item.make = [](uint64_t) {
    return std::vector<Subject>{{.name = "nan",
                                 .run = [] { return std::vector{at::full({1}, std::nan(""))}; },
                                 .reference = [] { return std::vector{at::ones({1})}; }}};
  };
  EXPECT_THROWS_WITH(run_case(item, bench(10)), "'nan' is wrong");
}

TEST_F(RunCase, SubjectsMayHaveLimitsAndWorkOfTheirOwn) {
  Case item = two_subjects();
  item.make = [this](uint64_t seed) {
    Subject own = subject("own", 0.5, seed);
    own.reference = [] { return std::vector{at::full({2}, 3.1, at::kDouble)}; };
    own.error_limit = 0.05;
    own.flops = 500;
    own.bytes = 4;
    return std::vector{own};
  };
  const Measurement row = run_case(item, bench(10))[0][0];
  EXPECT_THAT(row.percent_of_peak, DoubleNear(100, 1e-6));
  EXPECT_EQ(row.bytes, 4);
  EXPECT_THAT(row.relative_error, DoubleNear(0.1 / 3.1, 1e-6));
}

TEST_F(RunCase, CasesMayMeasureThemselves) {
  Case item{.suite = "suite", .name = "race"};
  item.measure = [](const Bench& bench) {
    return std::vector{Measurement{.suite = "suite", .threads = bench.threads}};
  };
  EXPECT_EQ(run_case(item, bench(10))[0][0].threads, 3);
}

TEST(BenchmarkError, IsTheLargestOfAllTensors) {
  const auto of = [](double value) { return at::full({4}, value, at::kDouble); };
  EXPECT_THAT(relative_error({of(1), of(2.2)}, {of(1), of(2)}), DoubleNear(0.1, 1e-12));
  EXPECT_TRUE(std::isnan(relative_error({of(std::nan("")), of(1)}, {of(1), of(1)})));
  EXPECT_THROWS_WITH(relative_error({of(1)}, {of(1), of(1)}), "expected 2 tensors, got 1");
  EXPECT_THROWS_WITH(relative_error({at::ones({3})}, {of(1)}), "expected a tensor of [4], got [3]");
}

TEST(BenchmarkError, LimitsAreByDtype) {
  EXPECT_EQ(usual_error_limit(at::kFloat), 1e-5);
  EXPECT_EQ(usual_error_limit(at::kBFloat16), 1e-2);
  EXPECT_THROWS_WITH(usual_error_limit(at::kInt), "expected float32 or bfloat16, got Int");
}

}  // namespace
}  // namespace kvalign::benchmark
