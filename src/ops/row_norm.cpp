// The kernel once for each instruction set that Highway knows, the best one chosen at run time. A
// row is read twice: the second time it is in the first-level cache.
//
// Shapes:  R streams   T tokens   D width
#include "kvalign/ops/row_norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <string>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/ops/row_norm.cpp"
#include <hwy/foreach_target.h>  // compiles what follows once a target
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kvalign {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Four accumulators hide the latency of the sums.
float sum_of_squares(const float* row, int64_t width) {
  const hn::ScalableTag<float> floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  hn::Vec<decltype(floats)> sums[4];
  for (auto& sum : sums) sum = hn::Zero(floats);
  int64_t d = 0;
  for (; d + 4 * lanes <= width; d += 4 * lanes) {
    for (int64_t part = 0; part < 4; ++part) {
      const auto y = hn::LoadU(floats, row + d + part * lanes);
      sums[part] = hn::MulAdd(y, y, sums[part]);
    }
  }
  const auto all = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
  float sum = hn::GetLane(hn::SumOfLanes(floats, all));
  for (; d < width; ++d) sum += row[d] * row[d];
  return sum;
}

// `beta` may be null.
void normalise_row(float* row, int64_t width, const float* gamma, const float* beta,
                   float epsilon) {
  const hn::ScalableTag<float> floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  const float scale =
      1.0f / std::sqrt(sum_of_squares(row, width) / static_cast<float>(width) + epsilon);
  const auto scales = hn::Set(floats, scale);
  int64_t d = 0;
  for (; d + lanes <= width; d += lanes) {
    const auto normalised = hn::Mul(hn::LoadU(floats, row + d), scales);
    const auto multiplied = hn::LoadU(floats, gamma + d);
    hn::StoreU(beta ? hn::MulAdd(normalised, multiplied, hn::LoadU(floats, beta + d))
                    : hn::Mul(normalised, multiplied),
               floats, row + d);
  }
  for (; d < width; ++d) row[d] = row[d] * scale * gamma[d] + (beta ? beta[d] : 0.0f);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvalign
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvalign {
namespace {

HWY_EXPORT(normalise_row);

// A thread's share that is worth waking it.
constexpr int64_t kElementsWorthAThread = 32768;

bool is_float_matrix(const at::Tensor& tensor, int64_t rows, int64_t columns) {
  return tensor.scalar_type() == at::kFloat && tensor.is_cpu() &&
         tensor.sizes() == at::IntArrayRef({rows, columns}) && tensor.is_contiguous();
}

std::string describe(const at::Tensor& tensor) {
  return tensor.defined()
             ? c10::str(tensor.scalar_type(), " ", tensor.sizes(), " on ", tensor.device())
             : "none";
}

}  // namespace

void normalise_rows_(at::Tensor& rows_RTD, const at::Tensor& gamma_RD, const at::Tensor& beta_RD,
                     double epsilon) {
  TORCH_CHECK(rows_RTD.dim() == 3 && rows_RTD.scalar_type() == at::kFloat && rows_RTD.is_cpu() &&
                  (rows_RTD.stride(2) == 1 || rows_RTD.size(2) == 1),
              "normalise_rows_: expected float32 [streams, tokens, width] on the CPU with "
              "contiguous rows, got ",
              rows_RTD.scalar_type(), " ", rows_RTD.sizes(), " with strides ", rows_RTD.strides(),
              " on ", rows_RTD.device());
  const int64_t num_streams = rows_RTD.size(0), width = rows_RTD.size(2);
  TORCH_CHECK(gamma_RD.defined() && is_float_matrix(gamma_RD, num_streams, width) &&
                  (!beta_RD.defined() || is_float_matrix(beta_RD, num_streams, width)),
              "normalise_rows_: expected gamma, and beta or none, as contiguous float32 [",
              num_streams, ", ", width, "] on the CPU, got ", describe(gamma_RD), " and ",
              describe(beta_RD));
  float* rows = rows_RTD.mutable_data_ptr<float>();
  const float* gamma = gamma_RD.const_data_ptr<float>();
  const float* beta = beta_RD.defined() ? beta_RD.const_data_ptr<float>() : nullptr;
  const int64_t stream_stride = rows_RTD.stride(0), token_stride = rows_RTD.stride(1);
  at::parallel_for(0, rows_RTD.size(1) * num_streams,
                   std::max<int64_t>(1, kElementsWorthAThread / std::max<int64_t>(1, width)),
                   [&](int64_t first, int64_t last) {
                     for (int64_t row = first; row < last; ++row) {
                       const int64_t stream = row % num_streams, token = row / num_streams;
                       HWY_DYNAMIC_DISPATCH(normalise_row)
                       (rows + stream * stream_stride + token * token_stride, width,
                        gamma + stream * width, beta ? beta + stream * width : nullptr,
                        static_cast<float>(epsilon));
                     }
                   });
}

}  // namespace kvalign
#endif
