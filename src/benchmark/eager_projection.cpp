// See eager_projection.h.
#include "eager_projection.h"

#include <ATen/ATen.h>

#include <string>

namespace kvalign::benchmark {
namespace {

std::vector<std::string> stage_names(const std::string& kind) {
  if (kind == "linear_residual") return {"linear"};
  if (kind == "mlp") return {"input", "output"};
  TORCH_CHECK(kind == "low_rank",
              "EagerProjection: expected linear_residual, mlp or low_rank, got ", kind);
  return {"encoder", "decoder"};
}

at::Tensor linear_of_groups(const at::Tensor& features_GTF, const LinearStage& stage) {
  if (features_GTF.size(0) == 1) {
    return at::linear(features_GTF[0], stage.weight_GOF[0], stage.bias_GO[0]).unsqueeze(0);
  }
  return at::baddbmm(stage.bias_GO.unsqueeze(1), features_GTF, stage.weight_GOF.transpose(1, 2));
}

}  // namespace

EagerProjection::EagerProjection(const KvProjector& projector, at::ScalarType dtype)
    : plan_(projector.plan()),
      num_streams_(projector.plan().num_streams()),
      has_gelu_(projector.options().kind == "mlp"),
      epsilon_(projector.options().norm_epsilon) {
  TORCH_CHECK(!has_gelu_ || num_streams_ == 1, "EagerProjection: expected one stream of mlp, got ",
              num_streams_);
  const auto weights = projector.projector().named_parameters();
  const auto copy = [&](const std::string& name) {
    return weights[name].detach().to(dtype, /*non_blocking=*/false, /*copy=*/true);
  };
  const int64_t groups = plan_.num_groups();
  for (const std::string& name : stage_names(projector.options().kind)) {
    const at::Tensor weight_RDF = copy(name + ".weight");
    stages_.push_back({.weight_GOF = weight_RDF.view({groups, -1, weight_RDF.size(2)}),
                       .bias_GO = copy(name + ".bias").view({groups, -1})});
  }
  if (projector.projector().options().norm == "none") return;
  gamma_RD_ = copy("norm.gamma");
  beta_RD_ = copy("norm.beta");
}

at::Tensor EagerProjection::streams_of(const at::Tensor& output_GTO) const {
  const int64_t groups = output_GTO.size(0), tokens = output_GTO.size(1);
  const at::Tensor output_RTD = output_GTO.view({groups, tokens, num_streams_ / groups, -1})
                                    .transpose(1, 2)
                                    .reshape({num_streams_, tokens, -1});
  if (!gamma_RD_.defined()) return output_RTD;
  if (num_streams_ == 1) {
    return at::layer_norm(output_RTD, {output_RTD.size(2)}, gamma_RD_[0], beta_RD_[0], epsilon_);
  }
  return at::layer_norm(output_RTD, {output_RTD.size(2)}, {}, {}, epsilon_) *
             gamma_RD_.unsqueeze(1) +
         beta_RD_.unsqueeze(1);
}

at::Tensor EagerProjection::project(const at::Tensor& sender_STd) const {
  at::Tensor output_GTO = linear_of_groups(features(sender_STd), stages_[0]);
  if (has_gelu_) output_GTO = at::gelu(output_GTO);
  if (stages_.size() > 1) output_GTO = linear_of_groups(output_GTO, stages_[1]);
  return streams_of(output_GTO);
}

at::Tensor EagerProjection::project_latent(const at::Tensor& latent_1Tr) const {
  return streams_of(linear_of_groups(latent_1Tr, stages_.back()));
}

}  // namespace kvalign::benchmark
