// The kernels once for each instruction set that Highway knows, the best one chosen at run time.
#include "row_sums.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/ops/row_sums.cpp"
#include <hwy/foreach_target.h>  // compiles what follows once a target
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kvalign {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// So many numbers are added in float32 before the sum goes on in float64.
constexpr int64_t kBlock = 512;

void add_block(const float* first, const float* second, int64_t width, double* sums) {
  const hn::ScalableTag<float> floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  auto first_squares = hn::Zero(floats), second_squares = hn::Zero(floats);
  auto products = hn::Zero(floats), differences = hn::Zero(floats);
  int64_t d = 0;
  for (; d + lanes <= width; d += lanes) {
    const auto x = hn::LoadU(floats, first + d), y = hn::LoadU(floats, second + d);
    first_squares = hn::MulAdd(x, x, first_squares);
    second_squares = hn::MulAdd(y, y, second_squares);
    products = hn::MulAdd(x, y, products);
    const auto difference = hn::Sub(x, y);
    differences = hn::MulAdd(difference, difference, differences);
  }
  sums[0] += static_cast<double>(hn::GetLane(hn::SumOfLanes(floats, first_squares)));
  sums[1] += static_cast<double>(hn::GetLane(hn::SumOfLanes(floats, second_squares)));
  sums[2] += static_cast<double>(hn::GetLane(hn::SumOfLanes(floats, products)));
  sums[3] += static_cast<double>(hn::GetLane(hn::SumOfLanes(floats, differences)));
  for (; d < width; ++d) {
    const double x = static_cast<double>(first[d]), y = static_cast<double>(second[d]);
    sums[0] += x * x;
    sums[1] += y * y;
    sums[2] += x * y;
    sums[3] += (x - y) * (x - y);
  }
}

void sum_row(const float* first, const float* second, int64_t width, double* sums) {
  std::fill_n(sums, 4, 0.0);
  for (int64_t d = 0; d < width; d += kBlock) {
    add_block(first + d, second + d, std::min(kBlock, width - d), sums);
  }
}

void combine_row(const float* first, float first_factor, const float* second, float second_factor,
                 int64_t width, float* output) {
  const hn::ScalableTag<float> floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  const auto first_lanes = hn::Set(floats, first_factor);
  const auto second_lanes = hn::Set(floats, second_factor);
  int64_t d = 0;
  for (; d + lanes <= width; d += lanes) {
    const auto scaled = hn::Mul(first_lanes, hn::LoadU(floats, first + d));
    hn::StoreU(hn::MulAdd(second_lanes, hn::LoadU(floats, second + d), scaled), floats, output + d);
  }
  for (; d < width; ++d) output[d] = first_factor * first[d] + second_factor * second[d];
}

}  // namespace HWY_NAMESPACE
}  // namespace kvalign
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvalign {

HWY_EXPORT(sum_row);
HWY_EXPORT(combine_row);

void sum_row(const float* first, const float* second, int64_t width, double* sums) {
  HWY_DYNAMIC_DISPATCH(sum_row)(first, second, width, sums);
}

void combine_row(const float* first, float first_factor, const float* second, float second_factor,
                 int64_t width, float* output) {
  HWY_DYNAMIC_DISPATCH(combine_row)(first, first_factor, second, second_factor, width, output);
}

}  // namespace kvalign
#endif
