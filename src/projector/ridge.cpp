// Solves with Cholesky factors of the features' correlations. See the header for formulas and
// shapes.
#include "kvalign/projector/ridge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "centred_sums.h"

namespace kvalign {
namespace {

// Below rounding of the mean a feature is constant, and its weight has nothing to go by.
at::Tensor deviation_of(const at::Tensor& variance, const at::Tensor& mean) {
  const at::Tensor deviation = variance.clamp_min(0).sqrt();
  return deviation.masked_fill(deviation <= mean.abs() * 1e-6 + 1e-12, 1.0);
}

// Fills rows of error_LR from the largest lambda down, until the last two have brought no stream
// closer than it was.
void walk_down(const std::vector<double>& lambdas,
               const std::function<at::Tensor(double lambda)>& error_of,
               const at::Tensor& error_LR) {
  std::vector<size_t> order(lambdas.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return lambdas[a] > lambdas[b]; });
  at::Tensor best_R = at::full_like(error_LR[0], std::numeric_limits<double>::infinity());
  int without_gain = 0;
  for (const size_t place : order) {
    const at::Tensor error_R = error_of(lambdas[place]);
    error_LR[static_cast<int64_t>(place)].copy_(error_R);
    without_gain = error_R.lt(best_R).any().item<bool>() ? 0 : without_gain + 1;
    if (without_gain == 2) return;
    best_R = at::minimum(best_R, error_R);
  }
}

}  // namespace

std::vector<double> default_lambdas() {
  return {1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3};
}

Ridge::Ridge(const RidgeStatistics& training, double feature_noise)
    : training_(training),
      shape_(training.shape()),
      num_tokens_(static_cast<double>(training.num_tokens())) {
  TORCH_CHECK(training.num_tokens() >= 2, "Ridge: expected statistics of at least 2 tokens, got ",
              training.num_tokens());
  const at::NoGradGuard no_gradients;
  const double n = num_tokens_;
  mean_GF_ = training.feature_sums() / n;
  output_mean_RD_ = training.output_sums() / n;
  output_variance_RD_ = (training.output_squares() / n - output_mean_RD_.square()).clamp_min(0);
  const at::Tensor second_GF = training.feature_products().diagonal(0, 1, 2) / n;
  deviation_GF_ = deviation_of(second_GF - mean_GF_.square(), mean_GF_);
  for (int64_t g = 0; g < shape_.num_groups; ++g) {
    const at::Tensor scale_F = deviation_GF_[g];
    at::Tensor correlation_FF =
        standardised_products(training.feature_products()[g], training.feature_sums()[g],
                              mean_GF_[g], scale_F, n)
            .div_(n);
    if (feature_noise > 0) {
      correlation_FF.diagonal() += feature_noise * feature_noise * second_GF[g] / scale_F.square();
    }
    correlations_FF_.push_back(std::move(correlation_FF));
  }
}

// L of L L' = Z'Z / n + lambda.
at::Tensor Ridge::factor(int64_t group, double lambda) const {
  at::Tensor penalised_FF = correlations_FF_[static_cast<size_t>(group)].clone();
  penalised_FF.diagonal() += lambda;
  const auto [factor_FF, info] = at::linalg_cholesky_ex(penalised_FF);
  TORCH_CHECK(info.item<int64_t>() == 0, "Ridge: lambda ", lambda, " is too small for these ",
              shape_.num_features,
              " features: their correlations and it have no Cholesky factor in float64. Use a "
              "larger one");
  return factor_FF;
}

// Z'Y / n of some outputs of a group: `choice` takes them from a tensor whose last dimension is all
// outputs of a group.
at::Tensor Ridge::cross_products(int64_t group, const Choice& choice) const {
  const auto of_outputs = [&](const at::Tensor& all_RD) {
    return choice(all_RD.reshape({shape_.num_groups, -1})[group]);
  };
  return centre_in_place(
             choice(training_.output_products()[group]).clone(at::MemoryFormat::Contiguous),
             training_.feature_sums()[group], of_outputs(training_.output_sums()), mean_GF_[group],
             of_outputs(output_mean_RD_), num_tokens_)
      .div_(num_tokens_ * deviation_GF_[group].unsqueeze(1));
}

at::Tensor Ridge::cross_products_of_stream(int64_t stream) const {
  const int64_t streams = shape_.num_streams / shape_.num_groups;
  return cross_products(stream / streams, [&](const at::Tensor& outputs) {
    return outputs.narrow(-1, stream % streams * shape_.width, shape_.width);
  });
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
  at::Tensor error_LR = at::full({static_cast<int64_t>(lambdas.size()), shape_.num_streams},
                                 std::numeric_limits<double>::infinity(), total_R.options());
  const at::Tensor output_sums_GO = every(held_out.output_sums().view({shape_.num_groups, -1}));
  const at::Tensor output_mean_GO = every(output_mean_RD_.view({shape_.num_groups, -1}));
  for (int64_t g = 0; g < shape_.num_groups; ++g) {
    const at::Tensor &scale_F = deviation_GF_[g], &mean_F = mean_GF_[g],
                     &sums_F = held_out.feature_sums()[g];
    const at::Tensor products_FF =
        standardised_products(held_out.feature_products()[g], sums_F, mean_F, scale_F, n);
    const at::Tensor held_out_cross_FO =
        centre_in_place(every(held_out.output_products()[g]).clone(at::MemoryFormat::Contiguous),
                        sums_F, output_sums_GO[g], mean_F, output_mean_GO[g], n)
            .div_(scale_F.unsqueeze(1));
    const at::Tensor cross_FO = cross_products(g, every);
    // The error in float32, whose rounding is far below what tells two penalties apart.
    const at::Tensor held_out_FF = products_FF.to(at::kFloat),
                     twice_cross_FO = (2 * held_out_cross_FO).to(at::kFloat);
    const auto error_of = [&](double lambda) {
      const at::Tensor weights_FO = at::cholesky_solve(cross_FO, factor(g, lambda)).to(at::kFloat);
      const at::Tensor change_O = (weights_FO * (held_out_FF.mm(weights_FO) - twice_cross_FO))
                                      .sum(0, /*keepdim=*/false, at::kDouble);
      return total_R.narrow(0, g * streams, streams) + change_O.view({streams, -1}).sum(1);
    };
    walk_down(lambdas, error_of, error_LR.narrow(1, g * streams, streams));
  }
  return error_LR / total_R.clamp_min(1e-300);
}

RidgeMap Ridge::solve(const std::vector<double>& lambda_R) const {
  TORCH_CHECK(static_cast<int64_t>(lambda_R.size()) == shape_.num_streams,
              "Ridge::solve: expected a lambda for each of ", shape_.num_streams, " streams, got ",
              lambda_R.size());
  const at::NoGradGuard no_gradients;
  const int64_t streams = shape_.num_streams / shape_.num_groups;
  const auto options = mean_GF_.options().dtype(at::kFloat);
  at::Tensor weight_RDF =
      at::empty({shape_.num_streams, shape_.width, shape_.num_features}, options);
  at::Tensor bias_RD = at::empty({shape_.num_streams, shape_.width}, options);
  // A solution of many columns at once is faster, of all it takes as much memory as the sums.
  constexpr int64_t kColumns = 1024;
  const auto at_once = static_cast<size_t>(std::max<int64_t>(1, kColumns / shape_.width));
  std::map<std::pair<int64_t, double>, std::vector<int64_t>> streams_of_factor;
  for (int64_t r = 0; r < shape_.num_streams; ++r) {
    streams_of_factor[{r / streams, lambda_R[static_cast<size_t>(r)]}].push_back(r);
  }
  for (const auto& [group_and_lambda, members] : streams_of_factor) {
    const int64_t group = group_and_lambda.first;
    const at::Tensor factor_FF = factor(group, group_and_lambda.second);
    for (size_t begin = 0; begin < members.size(); begin += at_once) {
      const size_t end = std::min(begin + at_once, members.size());
      std::vector<at::Tensor> cross_FD;
      for (size_t i = begin; i < end; ++i) {
        cross_FD.push_back(cross_products_of_stream(members[i]));
      }
      const at::Tensor weights_FO = at::cholesky_solve(at::cat(cross_FD, 1), factor_FF)
                                        .div_(deviation_GF_[group].unsqueeze(1));
      for (size_t i = begin; i < end; ++i) {
        const int64_t r = members[i];
        const at::Tensor weight_DF =
            weights_FO.narrow(1, static_cast<int64_t>(i - begin) * shape_.width, shape_.width).t();
        weight_RDF[r].copy_(weight_DF);
        bias_RD[r].copy_(output_mean_RD_[r] - weight_DF.mv(mean_GF_[group]));
      }
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
  // B = L^-1 Z'Y/n; B metric B' is what each direction explains.
  const at::Tensor factor_FF = factor(0, lambda);
  std::vector<at::Tensor> explained_FD;
  for (int64_t r = 0; r < shape_.num_streams; ++r) {
    explained_FD.push_back(
        at::linalg_solve_triangular(factor_FF, cross_products_of_stream(r), /*upper=*/false));
  }
  at::Tensor gram_FF = at::zeros({num_features, num_features}, mean_GF_.options());
  for (int64_t r = 0; r < shape_.num_streams; ++r) {
    const at::Tensor& part_FD = explained_FD[static_cast<size_t>(r)];
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
      at::linalg_solve_triangular(factor_FF.t(), directions_Fr, /*upper=*/true).t() /
      deviation_GF_[0].unsqueeze(0);
  at::Tensor decoder_RDr =
      at::empty({shape_.num_streams, shape_.width, rank}, mean_GF_.options().dtype(at::kFloat));
  for (int64_t r = 0; r < shape_.num_streams; ++r) {
    decoder_RDr[r].copy_(explained_FD[static_cast<size_t>(r)].t().mm(directions_Fr));
  }
  return {.encoder_rF = encoder_rF.to(at::kFloat).contiguous(),
          .encoder_bias_r = (-encoder_rF.mv(mean_GF_[0])).to(at::kFloat),
          .decoder_RDr = decoder_RDr,
          .decoder_bias_RD = output_mean_RD_.to(at::kFloat)};
}

}  // namespace kvalign
