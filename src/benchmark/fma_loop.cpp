// The loop once for each instruction set that Highway knows, the best one chosen at run time. See
// fma_loop.h.
#include "fma_loop.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/benchmark/fma_loop.cpp"
#include <hwy/foreach_target.h>  // compiles what follows once a target
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kvalign::benchmark {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Independent sums: enough to hide 5 cycles of latency on two units, few enough for 16 registers.
constexpr int64_t kSums = 12;

int64_t flops_of_iteration() {
  return 2 * kSums * static_cast<int64_t>(hn::Lanes(hn::ScalableTag<float>()));
}

float run(int64_t iterations) {
  const hn::ScalableTag<float> floats;
  const auto factor = hn::Set(floats, 0.999f), term = hn::Set(floats, 0.001f);
  hn::Vec<decltype(floats)> sums[kSums];
  for (int64_t i = 0; i < kSums; ++i) sums[i] = hn::Iota(floats, static_cast<float>(i));
  for (int64_t iteration = 0; iteration < iterations; ++iteration) {
    for (int64_t i = 0; i < kSums; ++i) sums[i] = hn::MulAdd(sums[i], factor, term);
  }
  auto all = sums[0];
  for (int64_t i = 1; i < kSums; ++i) all = hn::Add(all, sums[i]);
  return hn::GetLane(hn::SumOfLanes(floats, all));
}

}  // namespace HWY_NAMESPACE
}  // namespace kvalign::benchmark
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvalign::benchmark {

HWY_EXPORT(flops_of_iteration);
HWY_EXPORT(run);

int64_t fma_loop_flops() {
  return HWY_DYNAMIC_DISPATCH(flops_of_iteration)();
}

float fma_loop(int64_t iterations) {
  return HWY_DYNAMIC_DISPATCH(run)(iterations);
}

}  // namespace kvalign::benchmark
#endif
