// Solves in the eigenbasis of the features' correlations. See the header for formulas and shapes.
#include "kvalign/projector/ridge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace kvalign {
namespace {

// Sums about a mean from sums about zero: sum (a - u)(b - v)'.
at::Tensor about(const at::Tensor& products, const at::Tensor& sums_a, const at::Tensor& sums_b,
                 const at::Tensor& u, const at::Tensor& v, double n) {
  return products - at::outer(sums_a, v) - at::outer(u, sums_b) + n * at::outer(u, v);
}

// Below rounding of the mean a feature is constant, and its weight has nothing to go by.
at::Tensor deviation_of(const at::Tensor& variance, const at::Tensor& mean) {
  const at::Tensor deviation = variance.clamp_min(0).sqrt();
  return deviation.masked_fill(deviation <= mean.abs() * 1e-6 + 1e-12, 1.0);
}

}  // namespace

std::vector<double> default_lambdas() {
  return {1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3};
}

Ridge::Ridge(const RidgeStatistics& training, double feature_noise)
    : shape_(training.shape()), num_tokens_(training.num_tokens()) {
  TORCH_CHECK(num_tokens_ >= 2, "Ridge: expected statistics of at least 2 tokens, got ",
              num_tokens_);
  const at::NoGradGuard no_gradients;
  const auto n = static_cast<double>(num_tokens_);
  mean_GF_ = training.feature_sums() / n;
  output_mean_RD_ = training.output_sums() / n;
  output_variance_RD_ = (training.output_squares() / n - output_mean_RD_.square()).clamp_min(0);
  const at::Tensor second_GF = training.feature_products().diagonal(0, 1, 2) / n;
  deviation_GF_ = deviation_of(second_GF - mean_GF_.square(), mean_GF_);
  const at::Tensor output_sums_GO = training.output_sums().reshape({shape_.num_groups, -1});
  const at::Tensor output_mean_GO = output_mean_RD_.reshape({shape_.num_groups, -1});
  std::vector<at::Tensor> values, vectors, projected;
  for (int64_t g = 0; g < shape_.num_groups; ++g) {
    const at::Tensor scale_F = deviation_GF_[g];
    at::Tensor correlation_FF = about(training.feature_products()[g], training.feature_sums()[g],
                                      training.feature_sums()[g], mean_GF_[g], mean_GF_[g], n) /
                                (n * at::outer(scale_F, scale_F));
    if (feature_noise > 0) {
      correlation_FF.diagonal() += feature_noise * feature_noise * second_GF[g] / scale_F.square();
    }
    auto [eigenvalues, eigenvectors] = at::linalg_eigh(correlation_FF);
    values.push_back(eigenvalues.clamp_min(0));
    const at::Tensor cross_FO = about(training.output_products()[g], training.feature_sums()[g],
                                      output_sums_GO[g], mean_GF_[g], output_mean_GO[g], n) /
                                (n * scale_F.unsqueeze(1));
    projected.push_back(eigenvectors.t().mm(cross_FO));
    vectors.push_back(std::move(eigenvectors));
  }
  eigenvalues_GF_ = at::stack(values);
  eigenvectors_GFF_ = shape_.num_groups == 1 ? vectors[0].unsqueeze(0) : at::stack(vectors);
  projected_GFO_ = shape_.num_groups == 1 ? projected[0].unsqueeze(0) : at::stack(projected);
}

at::Tensor Ridge::standardised_weights(int64_t group, const at::Tensor& lambda_columns,
                                       const at::Tensor& projected_FO) const {
  const at::Tensor divisor_FO = eigenvalues_GF_[group].unsqueeze(1) + lambda_columns.unsqueeze(0);
  return eigenvectors_GFF_[group].mm(projected_FO / divisor_FO);
}

at::Tensor Ridge::held_out_error(const RidgeStatistics& held_out,
                                 const std::vector<double>& lambdas) const {
  const at::NoGradGuard no_gradients;
  const auto n = static_cast<double>(held_out.num_tokens());
  TORCH_CHECK(n > 0, "Ridge::held_out_error: expected held-out tokens, got none");
  const int64_t streams = shape_.num_streams / shape_.num_groups;
  const int64_t step = shape_.width < 64 ? 1 : 8;
  const auto every = [&](const at::Tensor& tensor) {
    return tensor.slice(-1, 0, std::nullopt, step);
  };
  // Squares about the training mean, a stream each.
  const at::Tensor total_RD = held_out.output_squares() -
                              2 * output_mean_RD_ * held_out.output_sums() +
                              n * output_mean_RD_.square();
  const at::Tensor total_R = every(total_RD).sum(1);
  at::Tensor error_LR = total_R.unsqueeze(0).repeat({static_cast<int64_t>(lambdas.size()), 1});
  const at::Tensor output_sums_GO = held_out.output_sums().reshape({shape_.num_groups, -1});
  const at::Tensor output_mean_GO = output_mean_RD_.reshape({shape_.num_groups, -1});
  for (int64_t g = 0; g < shape_.num_groups; ++g) {
    const auto columns = [&](const at::Tensor& tensor_FO) {
      return every(tensor_FO.view({-1, streams, shape_.width})).reshape({tensor_FO.size(0), -1});
    };
    const at::Tensor scale_F = deviation_GF_[g];
    const at::Tensor products_FF = about(held_out.feature_products()[g], held_out.feature_sums()[g],
                                         held_out.feature_sums()[g], mean_GF_[g], mean_GF_[g], n) /
                                   at::outer(scale_F, scale_F);
    const at::Tensor cross_FO =
        columns(about(held_out.output_products()[g], held_out.feature_sums()[g], output_sums_GO[g],
                      mean_GF_[g], output_mean_GO[g], n)) /
        scale_F.unsqueeze(1);
    // In the eigenbasis a penalty only scales the weights' rows.
    const at::Tensor& basis_FF = eigenvectors_GFF_[g];
    const at::Tensor rotated_FF = basis_FF.t().mm(products_FF).mm(basis_FF);
    const at::Tensor rotated_cross_FO = basis_FF.t().mm(cross_FO);
    const at::Tensor projected_FO = columns(projected_GFO_[g]);
    for (size_t i = 0; i < lambdas.size(); ++i) {
      const at::Tensor weights_FO = projected_FO / (eigenvalues_GF_[g] + lambdas[i]).unsqueeze(1);
      const at::Tensor change_O =
          (weights_FO * (rotated_FF.mm(weights_FO) - 2 * rotated_cross_FO)).sum(0);
      error_LR[static_cast<int64_t>(i)].narrow(0, g * streams, streams) +=
          change_O.view({streams, -1}).sum(1);
    }
  }
  return error_LR / total_R.clamp_min(1e-300);
}

LinearMap Ridge::solve(const std::vector<double>& lambda_R) const {
  TORCH_CHECK(static_cast<int64_t>(lambda_R.size()) == shape_.num_streams,
              "Ridge::solve: expected a lambda for each of ", shape_.num_streams, " streams, got ",
              lambda_R.size());
  const at::NoGradGuard no_gradients;
  const int64_t streams = shape_.num_streams / shape_.num_groups;
  const at::Tensor lambdas = at::tensor(lambda_R, at::kDouble);
  at::Tensor weight_RDF = at::empty({shape_.num_streams, shape_.width, shape_.num_features});
  at::Tensor bias_RD = at::empty({shape_.num_streams, shape_.width});
  for (int64_t g = 0; g < shape_.num_groups; ++g) {
    const at::Tensor lambda_O =
        lambdas.narrow(0, g * streams, streams).repeat_interleave(shape_.width);
    const at::Tensor weights_FO =
        standardised_weights(g, lambda_O, projected_GFO_[g]).div_(deviation_GF_[g].unsqueeze(1));
    const at::Tensor shift_O = weights_FO.t().mv(mean_GF_[g]);
    weight_RDF.narrow(0, g * streams, streams)
        .copy_(weights_FO.t().view({streams, shape_.width, shape_.num_features}));
    bias_RD.narrow(0, g * streams, streams)
        .copy_(output_mean_RD_.narrow(0, g * streams, streams) -
               shift_O.view({streams, shape_.width}));
  }
  return {weight_RDF, bias_RD};
}

at::Tensor Ridge::variance_metric() const {
  const at::Tensor variance_R = output_variance_RD_.sum(1).clamp_min(1e-300);
  return (at::eye(shape_.width, at::kDouble).unsqueeze(0) / variance_R.view({-1, 1, 1}))
      .unsqueeze(1);
}

LowRankMap Ridge::reduce(double lambda, int64_t rank, const at::Tensor& metric_RNHH) const {
  TORCH_CHECK(shape_.num_groups == 1,
              "Ridge::reduce: expected one group of features, since one latent serves all streams, "
              "got ",
              shape_.num_groups, ". Use layer map all with features both");
  TORCH_CHECK(rank >= 1 && rank <= shape_.num_features, "Ridge::reduce: expected a rank of 1 .. ",
              shape_.num_features, ", got ", rank);
  TORCH_CHECK(metric_RNHH.dim() == 4 && metric_RNHH.size(0) == shape_.num_streams &&
                  metric_RNHH.size(2) == metric_RNHH.size(3) &&
                  metric_RNHH.size(1) * metric_RNHH.size(2) == shape_.width,
              "Ridge::reduce: expected a metric [", shape_.num_streams,
              ", heads, head dim, head dim] of width ", shape_.width, ", got ",
              metric_RNHH.sizes());
  const at::NoGradGuard no_gradients;
  const int64_t num_features = shape_.num_features;
  const int64_t num_blocks = metric_RNHH.size(0) * metric_RNHH.size(1);
  const int64_t head_dim = metric_RNHH.size(2);
  // B = (Z'Z/n + lambda)^-1/2 Z'Y/n in the eigenbasis; B metric B' is what each direction explains.
  const at::Tensor whitening_F = (eigenvalues_GF_[0] + lambda).rsqrt();
  const at::Tensor explained_FO = projected_GFO_[0] * whitening_F.unsqueeze(1);
  const at::Tensor by_block =
      explained_FO.view({num_features, num_blocks, head_dim}).transpose(0, 1);
  const at::Tensor weighted_FO =
      at::bmm(by_block, metric_RNHH.to(at::kDouble).reshape({num_blocks, head_dim, head_dim}))
          .transpose(0, 1)
          .reshape({num_features, -1});
  const at::Tensor gram_FF = weighted_FO.mm(explained_FO.t());
  const auto [values, vectors] = at::linalg_eigh((gram_FF + gram_FF.t()) / 2);
  const at::Tensor directions_Fr = vectors.narrow(1, num_features - rank, rank).flip({1});
  const at::Tensor encoder_rF =
      eigenvectors_GFF_[0].mm(directions_Fr * whitening_F.unsqueeze(1)).t() /
      deviation_GF_[0].unsqueeze(0);
  const at::Tensor decoder_Or = explained_FO.t().mm(directions_Fr);
  return {.encoder_rF = encoder_rF.to(at::kFloat).contiguous(),
          .encoder_bias_r = (-encoder_rF.mv(mean_GF_[0])).to(at::kFloat),
          .decoder_RDr = decoder_Or.view({shape_.num_streams, shape_.width, rank}).to(at::kFloat),
          .decoder_bias_RD = output_mean_RD_.to(at::kFloat)};
}

}  // namespace kvalign
