// See frozen_output.h.
#include "frozen_output.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "fresh_tensor.h"
#include "kvalign/ops/row_norm.h"

namespace kvalign {
namespace {

// Outputs that are normalised while they are in the last-level cache, bytes: few enough to stay
// there, enough rows that the product's own preparation of the weights does not count.
constexpr int64_t kCachedBytes = int64_t{16} << 20;

// The product to K a costs (F + 1)^2 multiplications a token, the pass over the outputs about as
// long as 16 D of them (measured on AVX2). On a GPU each operation more costs more than either.
bool squares_pay(const ProjectorShape& shape, c10::Device device) {
  const int64_t inputs = shape.num_features + 1;
  return device.is_cpu() && shape.num_groups == shape.num_streams &&
         inputs * inputs <= 16 * shape.width;
}

// LayerNorm's mean taken out.
StreamMap centred(const StreamMap& map) {
  return {.weight_DF = map.weight_DF - map.weight_DF.mean(0, /*keepdim=*/true),
          .bias_D = map.bias_D - map.bias_D.mean()};
}

// K of A = [W, b], K'K = A'A: the rows of A'A's eigenvectors times the roots of its eigenvalues,
// of which a map of low rank has some that are 0 but for rounding.
StreamMap roots_of_squares(const StreamMap& map) {
  const at::Tensor all_DA = at::cat({map.weight_DF, map.bias_D.unsqueeze(1)}, 1);
  const auto [values_A, vectors_AA] = at::linalg_eigh(at::mm(all_DA.t(), all_DA));
  const at::Tensor roots_AA = vectors_AA.t() * values_A.clamp_min(0).sqrt().unsqueeze(1);
  const int64_t num_features = map.weight_DF.size(1);
  return {.weight_DF = roots_AA.narrow(1, 0, num_features),
          .bias_D = roots_AA.select(1, num_features)};
}

}  // namespace

FrozenOutput::FrozenOutput(const ProjectorShape& shape,
                           const std::function<StreamMap(int64_t)>& map_of, const NormFactors& norm,
                           const FrozenLayout& layout)
    : dtype_(layout.dtype), kind_(norm.kind), epsilon_(norm.epsilon) {
  const auto normalised_map_of = [&](int64_t stream) {
    return kind_ == NormKind::kLayer ? centred(map_of(stream)) : map_of(stream);
  };
  if (kind_ == NormKind::kNone || !squares_pay(shape, norm.gamma_RD.device())) {
    map_.emplace(shape, normalised_map_of, layout);
    if (kind_ != NormKind::kNone) keep_factors(norm);
    return;
  }
  ProjectorShape squares = shape, scaled = shape;
  squares.width = shape.num_features + 1;
  scaled.num_features = shape.num_features + 2;
  squares_.emplace(
      squares, [&](int64_t stream) { return roots_of_squares(normalised_map_of(stream)); },
      FrozenLayout{.packs = layout.packs});
  map_.emplace(
      scaled,
      [&](int64_t stream) {
        const StreamMap map = normalised_map_of(stream);
        const at::Tensor gamma_D1 = norm.gamma_RD[stream].unsqueeze(1);
        const at::Tensor beta_D1 =
            norm.beta_RD.defined() ? norm.beta_RD[stream].unsqueeze(1) : at::zeros_like(gamma_D1);
        return StreamMap{
            .weight_DF =
                at::cat({map.weight_DF * gamma_D1, map.bias_D.unsqueeze(1) * gamma_D1, beta_D1}, 1),
            .bias_D = {}};
      },
      layout);
}

void FrozenOutput::keep_factors(const NormFactors& norm) {
  gamma_RD_ = norm.gamma_RD.to(feature_dtype());
  if (norm.beta_RD.defined()) beta_RD_ = norm.beta_RD.to(feature_dtype());
  if (gamma_RD_.size(0) > 1) return;
  gamma_D_ = gamma_RD_[0];
  if (beta_RD_.defined()) beta_D_ = beta_RD_[0];
}

at::Tensor FrozenOutput::run(const at::Tensor& features_GTF) const {
  if (kind_ == NormKind::kNone) return map_->run(features_GTF).to(dtype_);
  if (squares_) return map_->run(scaled_features(features_GTF)).to(dtype_);
  if (!features_GTF.is_cpu()) return normalised(map_->run(features_GTF));
  return run_and_normalise(features_GTF);
}

// [a / sqrt(|K a|^2 / D + epsilon), 1].
at::Tensor FrozenOutput::scaled_features(const at::Tensor& features_GTF) const {
  return scale_features(features_GTF, squares_->run(features_GTF), map_->shape().width, epsilon_);
}

// In blocks of tokens, or where each stream has its features, of streams and then of tokens.
at::Tensor FrozenOutput::run_and_normalise(const at::Tensor& features_GTF) const {
  const ProjectorShape& shape = map_->shape();
  const int64_t tokens = features_GTF.size(1), streams = shape.num_streams / shape.num_groups;
  const int64_t cached_rows =
      std::max<int64_t>(1, kCachedBytes / (shape.width * static_cast<int64_t>(sizeof(float))));
  const int64_t group_block =
      streams > 1
          ? shape.num_groups
          : std::clamp<int64_t>(cached_rows / std::max<int64_t>(1, tokens), 1, shape.num_groups);
  const int64_t token_block = std::max<int64_t>(1, cached_rows / (group_block * streams));
  if (group_block == shape.num_groups && token_block >= tokens) {
    at::Tensor output_RTD = map_->run(features_GTF);
    normalise(output_RTD, 0);
    return output_RTD.to(dtype_);
  }
  at::Tensor output_RTD = map_->empty_output(tokens);
  for (int64_t group = 0; group < shape.num_groups; group += group_block) {
    const int64_t groups = std::min(group_block, shape.num_groups - group);
    for (int64_t first = 0; first < tokens; first += token_block) {
      const int64_t rows = std::min(token_block, tokens - first);
      at::Tensor block_RTD =
          output_RTD.narrow(0, group * streams, groups * streams).narrow(1, first, rows);
      map_->write(features_GTF.narrow(0, group, groups).narrow(1, first, rows), block_RTD, group);
      normalise(block_RTD, group * streams);
    }
  }
  return output_RTD.to(dtype_);
}

void FrozenOutput::normalise(at::Tensor& output_RTD, int64_t first_stream) const {
  const auto of_streams = [&](const at::Tensor& factors_RD) {
    return factors_RD.defined() ? factors_RD.narrow(0, first_stream, output_RTD.size(0))
                                : factors_RD;
  };
  normalise_rows_(output_RTD, of_streams(gamma_RD_), of_streams(beta_RD_), epsilon_);
}

// ATen's fused kernels: one for a single stream, which has its gamma and beta inside.
at::Tensor FrozenOutput::normalised(const at::Tensor& output_RTD) const {
  const std::vector<int64_t> width = {output_RTD.size(2)};
  const bool is_one = gamma_D_.defined();
  if (kind_ == NormKind::kRms) {
    const at::Tensor rows_RTD = at::rms_norm(output_RTD, width, gamma_D_, epsilon_);
    return is_one ? rows_RTD : rows_RTD * gamma_RD_.unsqueeze(1);
  }
  const at::Tensor rows_RTD = at::layer_norm(output_RTD, width, gamma_D_, beta_D_, epsilon_);
  return is_one ? rows_RTD : at::addcmul(beta_RD_.unsqueeze(1), rows_RTD, gamma_RD_.unsqueeze(1));
}

}  // namespace kvalign
