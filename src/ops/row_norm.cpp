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

#include "row_threads.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/ops/row_norm.cpp"
#include <hwy/foreach_target.h>  // compiles what follows once a target
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kvalign {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Four accumulators hide the latency of the sums; not an array, which SVE's vectors cannot be in.
float sum_of_squares(const float* row, int64_t width) {
  const hn::ScalableTag<float> floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  auto sum0 = hn::Zero(floats), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  const auto add_square = [&](int64_t d, auto& sum) {
    const auto y = hn::LoadU(floats, row + d);
    sum = hn::MulAdd(y, y, sum);
  };
  int64_t d = 0;
  for (; d + 4 * lanes <= width; d += 4 * lanes) {
    add_square(d, sum0);
    add_square(d + lanes, sum1);
    add_square(d + 2 * lanes, sum2);
    add_square(d + 3 * lanes, sum3);
  }
  const auto all = hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3));
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

// scaled: [x, 1] / sqrt(|root|^2 / outputs + epsilon), then 1.
void scale_row(const float* features, int64_t width, const float* root, int64_t root_width,
               float outputs, float epsilon, float* scaled) {
  const hn::ScalableTag<float> floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  const float scale = 1.0f / std::sqrt(sum_of_squares(root, root_width) / outputs + epsilon);
  const auto scales = hn::Set(floats, scale);
  int64_t f = 0;
  for (; f + lanes <= width; f += lanes) {
    hn::StoreU(hn::Mul(hn::LoadU(floats, features + f), scales), floats, scaled + f);
  }
  for (; f < width; ++f) scaled[f] = features[f] * scale;
  scaled[width] = scale;
  scaled[width + 1] = 1.0f;
}

}  // namespace HWY_NAMESPACE
}  // namespace kvalign
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvalign {
namespace {

HWY_EXPORT(normalise_row);
HWY_EXPORT(scale_row);

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
  const int64_t num_streams = rows_RTD.size(0), num_tokens = rows_RTD.size(1),
                width = rows_RTD.size(2);
  TORCH_CHECK(gamma_RD.defined() && is_float_matrix(gamma_RD, num_streams, width) &&
                  (!beta_RD.defined() || is_float_matrix(beta_RD, num_streams, width)),
              "normalise_rows_: expected gamma, and beta or none, as contiguous float32 [",
              num_streams, ", ", width, "] on the CPU, got ", describe(gamma_RD), " and ",
              describe(beta_RD));
  float* rows = rows_RTD.mutable_data_ptr<float>();
  const float* gamma = gamma_RD.const_data_ptr<float>();
  const float* beta = beta_RD.defined() ? beta_RD.const_data_ptr<float>() : nullptr;
  const int64_t stream_stride = rows_RTD.stride(0), token_stride = rows_RTD.stride(1);
  const bool stream_by_stream = stream_stride > token_stride;  // as they lie in memory
  at::parallel_for(
      0, num_tokens * num_streams, rows_worth_a_thread(width), [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row) {
          const int64_t stream = stream_by_stream ? row / num_tokens : row % num_streams;
          const int64_t token = stream_by_stream ? row % num_tokens : row / num_streams;
          HWY_DYNAMIC_DISPATCH(normalise_row)
          (rows + stream * stream_stride + token * token_stride, width, gamma + stream * width,
           beta ? beta + stream * width : nullptr, static_cast<float>(epsilon));
        }
      });
}

at::Tensor scale_features(const at::Tensor& features_GTF, const at::Tensor& roots_GTK,
                          int64_t num_outputs, double epsilon) {
  const at::Tensor features = features_GTF.contiguous(), roots = roots_GTK.contiguous();
  for (const at::Tensor& rows : {features, roots}) {
    TORCH_CHECK(rows.dim() == 3 && rows.scalar_type() == at::kFloat && rows.is_cpu() &&
                    rows.sizes().slice(0, 2) == features.sizes().slice(0, 2),
                "scale_features: expected float32 features and roots of the same [groups, tokens] "
                "on the CPU, got ",
                describe(features_GTF), " and ", describe(roots_GTK));
  }
  const int64_t width = features.size(2), root_width = roots.size(2);
  at::Tensor scaled_GTA =
      at::empty({features.size(0), features.size(1), width + 2}, features.options());
  const float *from = features.const_data_ptr<float>(), *root = roots.const_data_ptr<float>();
  float* to = scaled_GTA.mutable_data_ptr<float>();
  at::parallel_for(0, features.size(0) * features.size(1), rows_worth_a_thread(width),
                   [&](int64_t first, int64_t last) {
                     for (int64_t row = first; row < last; ++row) {
                       HWY_DYNAMIC_DISPATCH(scale_row)
                       (from + row * width, width, root + row * root_width, root_width,
                        static_cast<float>(num_outputs), static_cast<float>(epsilon),
                        to + row * (width + 2));
                     }
                   });
  return scaled_GTA;
}

}  // namespace kvalign
#endif
