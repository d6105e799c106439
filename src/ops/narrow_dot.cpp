// The kernel once for each instruction set that Highway knows, the best one chosen at run time.
//
// Shapes: M rows of the input, F input width, D output width
#include "narrow_dot.h"

#include <ATen/ATen.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/ops/narrow_dot.cpp"
#include <hwy/foreach_target.h>  // compiles what follows once a target
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kvalign {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class Weight>
float to_float(Weight weight) {
  return static_cast<float>(weight);
}

// One weight row with `num_rows` input rows. Two accumulators a row hide the latency of the sums.
template <class HighwayWeight, int64_t num_rows, class Weight>
void dot_row(const float* input, int64_t width, const Weight* weight, float* output,
             int64_t output_stride) {
  const hn::ScalableTag<float> floats;
  const hn::Rebind<HighwayWeight, decltype(floats)> narrow;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  const auto* stored = reinterpret_cast<const HighwayWeight*>(weight);
  hn::Vec<decltype(floats)> even[num_rows], odd[num_rows];
  for (int64_t m = 0; m < num_rows; ++m) even[m] = odd[m] = hn::Zero(floats);
  int64_t f = 0;
  for (; f + 2 * lanes <= width; f += 2 * lanes) {
    const auto first = hn::PromoteTo(floats, hn::LoadU(narrow, stored + f));
    const auto second = hn::PromoteTo(floats, hn::LoadU(narrow, stored + f + lanes));
    for (int64_t m = 0; m < num_rows; ++m) {
      even[m] = hn::MulAdd(first, hn::LoadU(floats, input + m * width + f), even[m]);
      odd[m] = hn::MulAdd(second, hn::LoadU(floats, input + m * width + f + lanes), odd[m]);
    }
  }
  for (int64_t m = 0; m < num_rows; ++m) {
    float sum = hn::GetLane(hn::SumOfLanes(floats, hn::Add(even[m], odd[m])));
    for (int64_t rest = f; rest < width; ++rest) {
      sum += input[m * width + rest] * to_float(weight[rest]);
    }
    output[m * output_stride] = sum;
  }
}

template <class HighwayWeight, class Weight>
void dot_rows(const float* input, int64_t num_rows, int64_t width, const Weight* weight,
              int64_t first, int64_t last, float* output, int64_t output_stride) {
  for (int64_t d = first; d < last; ++d) {
    const Weight* row = weight + d * width;
    float* place = output + d;
    switch (num_rows) {
      case 1:
        dot_row<HighwayWeight, 1>(input, width, row, place, output_stride);
        break;
      case 2:
        dot_row<HighwayWeight, 2>(input, width, row, place, output_stride);
        break;
      case 3:
        dot_row<HighwayWeight, 3>(input, width, row, place, output_stride);
        break;
      default:
        dot_row<HighwayWeight, 4>(input, width, row, place, output_stride);
    }
  }
}

void dot_bfloat16(const float* input, int64_t num_rows, int64_t width, const at::BFloat16* weight,
                  int64_t first, int64_t last, float* output, int64_t output_stride) {
  dot_rows<hwy::bfloat16_t>(input, num_rows, width, weight, first, last, output, output_stride);
}

void dot_float16(const float* input, int64_t num_rows, int64_t width, const at::Half* weight,
                 int64_t first, int64_t last, float* output, int64_t output_stride) {
  dot_rows<hwy::float16_t>(input, num_rows, width, weight, first, last, output, output_stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvalign
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvalign {

HWY_EXPORT(dot_bfloat16);
HWY_EXPORT(dot_float16);

void narrow_dot(const at::Tensor& input_MF, const at::Tensor& weight_DF, int64_t first,
                int64_t last, at::Tensor& output_MD) {
  const float* input = input_MF.const_data_ptr<float>();
  float* output = output_MD.mutable_data_ptr<float>();
  const int64_t num_rows = input_MF.size(0), width = weight_DF.size(1);
  if (weight_DF.scalar_type() == at::kBFloat16) {
    HWY_DYNAMIC_DISPATCH(dot_bfloat16)
    (input, num_rows, width, weight_DF.const_data_ptr<at::BFloat16>(), first, last, output,
     output_MD.size(1));
  } else {
    HWY_DYNAMIC_DISPATCH(dot_float16)
    (input, num_rows, width, weight_DF.const_data_ptr<at::Half>(), first, last, output,
     output_MD.size(1));
  }
}

}  // namespace kvalign
#endif
