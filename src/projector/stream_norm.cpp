// One stream takes ATen's fused path with its affine part inside; several streams have different
// gammas, so the affine part follows the norm.
#include "stream_norm.h"

#include <ATen/ATen.h>

namespace kvalign {

NormKind norm_kind(const std::string& name) {
  if (name == "layer") {
    return NormKind::kLayer;
  }
  if (name == "rms") {
    return NormKind::kRms;
  }
  TORCH_CHECK(name == "none", "projector: expected norm layer, rms or none, got '", name, "'");
  return NormKind::kNone;
}

StreamNorm::StreamNorm(NormKind kind, double epsilon, int64_t num_streams, int64_t width)
    : kind_(kind), epsilon_(epsilon) {
  if (kind != NormKind::kNone) {
    gamma_RD_ = register_parameter("gamma", at::ones({num_streams, width}));
  }
  if (kind == NormKind::kLayer) {
    beta_RD_ = register_parameter("beta", at::zeros({num_streams, width}));
  }
}

at::Tensor StreamNorm::forward(const at::Tensor& input_RTD, const at::Tensor& mean_RD,
                               const at::Tensor& scale_RD) const {
  const bool has_statistics = scale_RD.defined();
  if (kind_ == NormKind::kNone) {
    return has_statistics ? at::addcmul(mean_RD.unsqueeze(1), input_RTD, scale_RD.unsqueeze(1))
                          : input_RTD;
  }
  const int64_t width = input_RTD.size(2);
  const at::Tensor gamma_RD = has_statistics ? gamma_RD_ * scale_RD : gamma_RD_;
  if (kind_ == NormKind::kRms) {
    return input_RTD.size(0) == 1
               ? at::rms_norm(input_RTD, {width}, gamma_RD[0], epsilon_)
               : at::rms_norm(input_RTD, {width}, {}, epsilon_) * gamma_RD.unsqueeze(1);
  }
  const at::Tensor beta_RD = has_statistics ? at::addcmul(mean_RD, beta_RD_, scale_RD) : beta_RD_;
  if (input_RTD.size(0) == 1) {
    return at::layer_norm(input_RTD, {width}, gamma_RD[0], beta_RD[0], epsilon_);
  }
  return at::addcmul(beta_RD.unsqueeze(1), at::layer_norm(input_RTD, {width}, {}, {}, epsilon_),
                     gamma_RD.unsqueeze(1));
}

void StreamNorm::fold_output(StackedLinear& last, const at::Tensor& mean_RD,
                             const at::Tensor& scale_RD) {
  if (kind_ == NormKind::kNone) {
    last.fold_output(mean_RD, scale_RD);
    return;
  }
  const at::NoGradGuard no_gradients;
  gamma_RD_.mul_(scale_RD);
  if (kind_ == NormKind::kLayer) {
    beta_RD_.mul_(scale_RD).add_(mean_RD);
  }
}

}  // namespace kvalign
