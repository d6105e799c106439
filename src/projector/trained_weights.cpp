// See trained_weights.h.
#include "trained_weights.h"

#include <ATen/ATen.h>

#include <utility>

namespace kvalign {
namespace {

at::Tensor in_float64(const at::Tensor& tensor) {
  return tensor.detach().to(at::kDouble);
}

// Undefined where there is none.
at::Tensor buffer_of(const torch::OrderedDict<std::string, at::Tensor>& buffers,
                     const std::string& name) {
  const at::Tensor* found = buffers.find(name);
  return found ? in_float64(*found) : at::Tensor();
}

}  // namespace

TrainedWeights::TrainedWeights(Projector& projector)
    : options_(projector.options()), parameters_(projector.named_parameters()) {
  const auto buffers = projector.named_buffers();
  feature_mean_GF_ = buffer_of(buffers, "feature_statistics.mean");
  feature_scale_GF_ = buffer_of(buffers, "feature_statistics.scale");
  output_mean_RD_ = buffer_of(buffers, "output_statistics.mean");
  output_scale_RD_ = buffer_of(buffers, "output_statistics.scale");
}

StreamMap TrainedWeights::map(const std::string& name, int64_t stream) const {
  return {.weight_DF = in_float64(parameters_[name + ".weight"][stream]),
          .bias_D = in_float64(parameters_[name + ".bias"][stream])};
}

StreamMap TrainedWeights::reading_raw_features(StreamMap map, int64_t group) const {
  if (!feature_scale_GF_.defined()) return map;
  map.weight_DF = map.weight_DF / feature_scale_GF_[group];
  map.bias_D = map.bias_D - at::mv(map.weight_DF, feature_mean_GF_[group]);
  return map;
}

StreamMap TrainedWeights::writing_raw_outputs(StreamMap map, int64_t stream) const {
  map = writing_raw_scale(std::move(map), stream);
  if (scales_outputs()) map.bias_D = map.bias_D + output_mean_RD_[stream];
  return map;
}

StreamMap TrainedWeights::writing_raw_scale(StreamMap map, int64_t stream) const {
  if (!scales_outputs()) return map;
  return {.weight_DF = map.weight_DF * output_scale_RD_[stream].unsqueeze(1),
          .bias_D = map.bias_D * output_scale_RD_[stream]};
}

NormFactors TrainedWeights::norm() const {
  NormFactors factors{.kind = norm_kind(options_.norm), .epsilon = options_.norm_epsilon};
  if (factors.kind == NormKind::kNone) return factors;
  factors.gamma_RD = in_float64(parameters_["norm.gamma"]);
  if (scales_outputs()) factors.gamma_RD = factors.gamma_RD * output_scale_RD_;
  if (factors.kind == NormKind::kLayer) {
    factors.beta_RD = in_float64(parameters_["norm.beta"]);
    if (scales_outputs()) {
      factors.beta_RD = at::addcmul(output_mean_RD_, factors.beta_RD, output_scale_RD_);
    }
  }
  return factors;
}

}  // namespace kvalign
