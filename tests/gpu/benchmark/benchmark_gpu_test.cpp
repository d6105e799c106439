// What kvalign bench has on a CUDA device alone: graphs beside calls, and the
// limit that an empty kernel is.
#include "kvalign/benchmark/benchmark.h"

#include <ATen/Context.h>
#include <gmock/gmock.h>

namespace kvalign::benchmark {
namespace {

using ::testing::ElementsAre;
using ::testing::MatchesRegex;

class BenchmarkOnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  }
};

TEST_F(BenchmarkOnGpu, GraphsStandBesideCalls) {
  Limits limits;
  std::vector<std::vector<Measurement>> results;
  run_benchmark({.suites = {"projection"}, .filter = "8 x 1024", .rounds = 5},
                at::Device(at::kCUDA, 0),
                {.on_limits = [&](const Limits& measured) { limits = measured; },
                 .on_rows = [&](const auto& rows) { results.push_back(rows); }});
  // No GPU starts a kernel faster or slower than this, by a factor of ten either way.
  EXPECT_GT(limits.empty_kernel_seconds, 1e-7);
  EXPECT_LT(limits.empty_kernel_seconds, 1e-5);
  ASSERT_FALSE(results.empty());
  for (const std::vector<Measurement>& rows : results) {
    std::vector<std::string> variants;
    for (const Measurement& row : rows) variants.push_back(row.variant);
    ASSERT_THAT(variants, ElementsAre("ours", "eager", "gemm", "ours, graph", "gemm, graph"));
    EXPECT_THAT(rows[3].detail, MatchesRegex("[1-9] kernels?"));
    EXPECT_THAT(rows[4].detail, MatchesRegex("[1-9] kernels?"));
    EXPECT_EQ(rows[3].ratios.size(), 3);
  }
}

}  // namespace
}  // namespace kvalign::benchmark
