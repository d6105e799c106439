// Limits on a stopwatch that says a second to everything, and what options are refused. What is
// timed by a real clock is only whether rows come: tests/tools/bench_test.py runs the command.
#include "kvalign/benchmark/benchmark.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <sched.h>

#include <nlohmann/json.hpp>

#include "kvalign/core/options.h"
#include "tests/support/throws.h"

namespace kvalign::benchmark {
namespace {

using ::testing::ElementsAre;

double a_second(const std::function<void()>& work) {
  work();
  return 1;
}

TEST(BenchmarkLimits, AreWorkByTime) {
  const Limits limits = measure_limits(at::kCPU, a_second);
  EXPECT_EQ(limits.copy_bytes_per_second, 2.0 * 256 * (1 << 20));
  // 12 sums of at least one number, 5 million times on each thread.
  EXPECT_GE(limits.float32_flops_per_second, 2.0 * 12 * 5e6);
  EXPECT_GE(limits.bfloat16_flops_per_second, limits.float32_flops_per_second);
  EXPECT_EQ(limits.empty_call_seconds, 1e-3);
  EXPECT_EQ(limits.flops_per_second(at::kFloat), limits.float32_flops_per_second);
  EXPECT_EQ(limits.flops_per_second(at::kBFloat16), limits.bfloat16_flops_per_second);
  EXPECT_EQ(to_json(limits)["empty_call_us"], 1000);
  EXPECT_TRUE(to_json(limits)["empty_kernel_us"].is_null());  // a CPU has none
  EXPECT_EQ(to_json(Limits{.empty_kernel_seconds = 2e-6})["empty_kernel_us"], 2);
}

TEST(BenchmarkLimits, NamesAndCaches) {
  EXPECT_EQ(dtype_name(at::kFloat), "float32");
  EXPECT_EQ(dtype_name(at::kFloat8_e4m3fn), "float8_e4m3fn");
  EXPECT_THROWS_WITH(dtype_name(at::kInt), "expected float32, bfloat16 or float8_e4m3fn, got Int");
  EXPECT_GT(last_cache_bytes(at::kCPU), 1 << 20);
  EXPECT_EQ(last_cache_bytes(at::Device(at::kCUDA, 0)), 128 << 20);
}

TEST(BenchmarkOptions, AreChecked) {
  EXPECT_THAT(suite_names(), ElementsAre("projection", "streams", "cache", "codec", "training"));
  EXPECT_THROWS_WITH(validate_options(BenchmarkOptions{.suites = {"speed"}}), "speed");
  EXPECT_THROWS_WITH(validate_options(BenchmarkOptions{.rounds = 4}), "rounds");
  EXPECT_THROWS_WITH(run_benchmark({.suites = {"codec"}, .filter = "no such case"}, at::kCPU),
                     "benchmark.filter: expected a part of the name of a case, got 'no such case'");
}

TEST(BenchmarkThreads, AreNoMoreThanCpus) {
  const int threads = at::get_num_threads();
  cpu_set_t cpus;
  ASSERT_EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
  at::set_num_threads(CPU_COUNT(&cpus) + 1);
  EXPECT_THROWS_WITH(run_benchmark({.suites = {"codec"}}, at::kCPU), "threads: expected at most");
  at::set_num_threads(threads);
}

TEST(BenchmarkMemory, IsAtLeastTheLibrary) {
  EXPECT_GT(peak_memory_bytes(), 10 << 20);
}

}  // namespace
}  // namespace kvalign::benchmark
