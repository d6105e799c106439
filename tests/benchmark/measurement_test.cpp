// Rows as JSON and as a table: what is undefined, who is faster, who is the baseline.
#include "kvalign/benchmark/measurement.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace kvalign::benchmark {
namespace {

using ::testing::HasSubstr;

Measurement row_of(const std::string& variant, double median) {
  Measurement row{.suite = "projection",
                  .case_name = "V1, 1 token",
                  .variant = variant,
                  .detail = "",
                  .dtype = "float32",
                  .device = "cpu",
                  .threads = 2,
                  .buffers = "hot",
                  .rounds = 5,
                  .repetitions = 3,
                  .milliseconds = {.median = median, .p10 = median / 2, .p90 = median * 2},
                  .first_call_ms = 123.4,
                  .ratios = {},
                  .noise = {.median = 1.01, .p10 = 0.9, .p90 = 1.1},
                  .flops = 100,
                  .bytes = 50,
                  .percent_of_peak = 42,
                  .percent_of_copy = std::nan(""),
                  .relative_error = 2.5e-7};
  return row;
}

std::vector<Measurement> two_rows() {
  std::vector<Measurement> rows = {row_of("ours", 0.5), row_of("eager", 1)};
  rows[0].ratios = {{.baseline = "eager",
                     .ratio = {.median = 0.5, .p10 = 0.4, .p90 = 0.6},
                     .verdict = Verdict::kFaster}};
  rows[1].detail = "mkl";
  return rows;
}

TEST(BenchmarkMeasurement, JsonHoldsEverything) {
  const nlohmann::json json = to_json(two_rows()[0]);
  EXPECT_EQ(json["case"], "V1, 1 token");
  EXPECT_EQ(json["milliseconds"], nlohmann::json({{"median", 0.5}, {"p10", 0.25}, {"p90", 1.0}}));
  EXPECT_EQ(json["ratios"]["eager"]["median"], 0.5);
  EXPECT_EQ(json["ratios"]["eager"]["verdict"], "faster");
  EXPECT_EQ(json["noise"]["p90"], 1.1);
  EXPECT_EQ(json["percent_of_peak"], 42);
  EXPECT_TRUE(json["percent_of_copy"].is_null());
  EXPECT_EQ(json.size(), 19);
}

TEST(BenchmarkMeasurement, TableSaysWhoIsFasterThanWhom) {
  const std::string text = to_text(two_rows());
  EXPECT_THAT(text, HasSubstr("projection: V1, 1 token; float32, hot, 5 rounds, A/A 1.010 [0.900, "
                              "1.100]\n"));
  EXPECT_THAT(text, HasSubstr("variant"));
  EXPECT_THAT(text, HasSubstr("/ eager"));
  EXPECT_THAT(text, HasSubstr("0.500 faster"));
  EXPECT_THAT(text, HasSubstr("eager (mkl)"));
  EXPECT_THAT(text, HasSubstr("2.5e-07"));
}

// A race without percentages or an A/A pair.
TEST(BenchmarkMeasurement, WhatIsUndefinedIsADash) {
  Measurement row = row_of("closed form", 100);
  row.percent_of_peak = row.relative_error = row.noise.median = std::nan("");
  row.rounds = 1;
  EXPECT_THAT(to_text({row}), HasSubstr("float32, hot, once\n"));
  EXPECT_THAT(to_text({row}), HasSubstr(" -       -      -"));
}

}  // namespace
}  // namespace kvalign::benchmark
