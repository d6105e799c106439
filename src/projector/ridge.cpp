// Solves in the eigenbasis of the features' correlations. See the header for formulas and shapes.
#include "kvalign/projector/ridge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "centred_sums.h"

namespace kvalign {
namespace {

// Columns of the outputs are taken so many at a time: all at once, each intermediate result would
// take as much memory as the sums.
constexpr int64_t kChunk = 1024;

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
    const at::Tensor &sums_F = training.feature_sums()[g], &mean_F = mean_GF_[g];
    at::Tensor correlation_FF =
        standardised_products(training.feature_products()[g], sums_F, mean_F, scale_F, n).div_(n);
    if (feature_noise > 0) {
      correlation_FF.diagonal() += feature_noise * feature_noise * second_GF[g] / scale_F.square();
    }
    auto [eigenvalues, eigenvectors] = at::linalg_eigh(correlation_FF);
    values.push_back(eigenvalues.clamp_min(0));
    const at::Tensor& products_FO = training.output_products()[g];
    at::Tensor projected_FO = at::empty_like(products_FO);
    for (int64_t begin = 0; begin < products_FO.size(1); begin += kChunk) {
      const auto chunk = [&](const at::Tensor& tensor) {
        return tensor.narrow(-1, begin, std::min(kChunk, products_FO.size(1) - begin));
      };
      const at::Tensor cross_FO =
          centre_in_place(chunk(products_FO).clone(), sums_F, chunk(output_sums_GO[g]), mean_F,
                          chunk(output_mean_GO[g]), n)
              .div_(n * scale_F.unsqueeze(1));
      chunk(projected_FO).copy_(eigenvectors.t().mm(cross_FO));
    }
    projected.push_back(projected_FO);
    vectors.push_back(std::move(eigenvectors));
  }
  eigenvalues_GF_ = at::stack(values);
  eigenvectors_GFF_ = shape_.num_groups == 1 ? vectors[0].unsqueeze(0) : at::stack(vectors);
  projected_GFO_ = shape_.num_groups == 1 ? projected[0].unsqueeze(0) : at::stack(projected);
}

at::Tensor Ridge::held_out_error(const RidgeStatistics& held_out,
                                 const std::vector<double>& lambdas) const {
  const at::NoGradGuard no_gradients;
  const auto n = static_cast<double>(held_out.num_tokens());
  TORCH_CHECK(n > 0, "Ridge::held_out_error: expected held-out tokens, got none");
  const int64_t streams = shape_.num_streams / shape_.num_groups;
  // An odd step, so that the outputs taken of two halves of a head, which RoPE pairs, differ.
  const int64_t step = shape_.width < 64 ? 1 : (shape_.width / 8) | 1;
  const auto every = [&](const at::Tensor& tensor_XO) {
    return tensor_XO.unflatten(-1, {streams, shape_.width})
        .slice(-1, 0, std::nullopt, step)
        .flatten(-2);
  };
  // Squares about the training mean.
  const at::Tensor total_GO =
      every((held_out.output_squares() - 2 * output_mean_RD_ * held_out.output_sums() +
             n * output_mean_RD_.square())
                .view({shape_.num_groups, -1}));
  const at::Tensor total_R = total_GO.view({shape_.num_streams, -1}).sum(1);
  at::Tensor error_LR = total_R.unsqueeze(0).repeat({static_cast<int64_t>(lambdas.size()), 1});
  const at::Tensor output_sums_GO = every(held_out.output_sums().view({shape_.num_groups, -1}));
  const at::Tensor output_mean_GO = every(output_mean_RD_.view({shape_.num_groups, -1}));
  for (int64_t g = 0; g < shape_.num_groups; ++g) {
    const at::Tensor &scale_F = deviation_GF_[g], &mean_F = mean_GF_[g],
                     &sums_F = held_out.feature_sums()[g];
    const at::Tensor products_FF =
        standardised_products(held_out.feature_products()[g], sums_F, mean_F, scale_F, n);
    const at::Tensor cross_FO =
        centre_in_place(every(held_out.output_products()[g]).clone(at::MemoryFormat::Contiguous),
                        sums_F, output_sums_GO[g], mean_F, output_mean_GO[g], n)
            .div_(scale_F.unsqueeze(1));
    const at::Tensor projected_FO = every(projected_GFO_[g]);
    for (size_t i = 0; i < lambdas.size(); ++i) {
      const at::Tensor weights_FO =
          eigenvectors_GFF_[g].mm(projected_FO / (eigenvalues_GF_[g] + lambdas[i]).unsqueeze(1));
      const at::Tensor change_O = (weights_FO * (products_FF.mm(weights_FO) - 2 * cross_FO)).sum(0);
      error_LR[static_cast<int64_t>(i)].narrow(0, g * streams, streams) +=
          change_O.view({streams, -1}).sum(1);
    }
  }
  return error_LR / total_R.clamp_min(1e-300);
}

RidgeMap Ridge::solve(const std::vector<double>& lambda_R) const {
  TORCH_CHECK(static_cast<int64_t>(lambda_R.size()) == shape_.num_streams,
              "Ridge::solve: expected a lambda for each of ", shape_.num_streams, " streams, got ",
              lambda_R.size());
  const at::NoGradGuard no_gradients;
  const int64_t streams = shape_.num_streams / shape_.num_groups;
  const auto options = projected_GFO_.options().dtype(at::kFloat);
  at::Tensor weight_RDF =
      at::empty({shape_.num_streams, shape_.width, shape_.num_features}, options);
  at::Tensor bias_RD = at::empty({shape_.num_streams, shape_.width}, options);
  for (int64_t g = 0; g < shape_.num_groups; ++g) {
    // Rows of an orthogonal matrix keep the norm, so float32 costs no more than the result's own
    // rounding.
    const at::Tensor vectors_FF = eigenvectors_GFF_[g].to(at::kFloat);
    for (int64_t place = 0; place < streams; ++place) {
      const int64_t r = g * streams + place;
      const at::Tensor projected_FD =
          projected_GFO_[g].narrow(1, place * shape_.width, shape_.width) /
          (eigenvalues_GF_[g] + lambda_R[static_cast<size_t>(r)]).unsqueeze(1);
      const at::Tensor weight_DF =
          projected_FD.to(at::kFloat).t().mm(vectors_FF.t()).div_(deviation_GF_[g]);
      weight_RDF[r].copy_(weight_DF);
      bias_RD[r].copy_(output_mean_RD_[r] - weight_DF.to(at::kDouble).mv(mean_GF_[g]));
    }
  }
  return {weight_RDF, bias_RD};
}

at::Tensor Ridge::variance_metric() const {
  const at::Tensor variance_R = output_variance_RD_.sum(1).clamp_min(1e-300);
  return (at::eye(shape_.width, variance_R.options()).unsqueeze(0) / variance_R.view({-1, 1, 1}))
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
  const int64_t num_heads = metric_RNHH.size(1), head_dim = metric_RNHH.size(2);
  // B = (Z'Z/n + lambda)^-1/2 Z'Y/n in the eigenbasis; B metric B' is what each direction explains.
  const at::Tensor whitening_F1 = (eigenvalues_GF_[0] + lambda).rsqrt().unsqueeze(1);
  const auto explained_FD = [&](int64_t stream) {
    return projected_GFO_[0].narrow(1, stream * shape_.width, shape_.width) * whitening_F1;
  };
  at::Tensor gram_FF = at::zeros({num_features, num_features}, projected_GFO_.options());
  for (int64_t r = 0; r < shape_.num_streams; ++r) {
    const at::Tensor part_FD = explained_FD(r);
    const at::Tensor by_head_NFH =
        part_FD.view({num_features, num_heads, head_dim}).transpose(0, 1);
    const at::Tensor weighted_FD = at::bmm(by_head_NFH, metric_RNHH[r].to(gram_FF.options()))
                                       .transpose(0, 1)
                                       .reshape({num_features, -1});
    gram_FF.addmm_(weighted_FD, part_FD.t());
  }
  const auto [values, vectors] = at::linalg_eigh(gram_FF);
  const at::Tensor directions_Fr = vectors.narrow(1, num_features - rank, rank).flip({1});
  const at::Tensor encoder_rF =
      eigenvectors_GFF_[0].mm(directions_Fr * whitening_F1).t() / deviation_GF_[0].unsqueeze(0);
  at::Tensor decoder_RDr = at::empty({shape_.num_streams, shape_.width, rank},
                                     projected_GFO_.options().dtype(at::kFloat));
  for (int64_t r = 0; r < shape_.num_streams; ++r) {
    decoder_RDr[r].copy_(explained_FD(r).t().mm(directions_Fr));
  }
  return {.encoder_rF = encoder_rF.to(at::kFloat).contiguous(),
          .encoder_bias_r = (-encoder_rF.mv(mean_GF_[0])).to(at::kFloat),
          .decoder_RDr = decoder_RDr,
          .decoder_bias_RD = output_mean_RD_.to(at::kFloat)};
}

}  // namespace kvalign
