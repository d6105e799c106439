// A projector's weights by name, one stream at a time in float64, with its statistics multiplied
// in: what frozen maps are made from. One stream in float64 is all that is held beside them.
//
// Shapes:  G feature groups   F features   R streams   D width
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "kvalign/projector/projector.h"
#include "stream_norm.h"

namespace kvalign {

/// y = weight x + bias of one stream, float64, on the projector's device.
struct StreamMap {
  at::Tensor weight_DF, bias_D;
};

/// A norm's factors, with the targets' statistics multiplied in; float64.
struct NormFactors {
  NormKind kind = NormKind::kNone;
  double epsilon = 0;
  at::Tensor gamma_RD = {};  ///< layer and rms
  at::Tensor beta_RD = {};   ///< layer
};

class TrainedWeights {
 public:
  /// Keeps `projector`'s tensors by reference.
  explicit TrainedWeights(Projector& projector);

  /// Stream `stream` of "<name>.weight" and "<name>.bias".
  StreamMap map(const std::string& name, int64_t stream) const;

  /// The map of raw features of a group, from one of standardised features.
  StreamMap reading_raw_features(StreamMap map, int64_t group) const;

  /// The map to outputs with the targets' scale and mean, from one to standardised outputs. Without
  /// the mean where another map adds it.
  StreamMap writing_raw_outputs(StreamMap map, int64_t stream) const;
  StreamMap writing_raw_scale(StreamMap map, int64_t stream) const;

  /// "norm.gamma" and "norm.beta", or none.
  NormFactors norm() const;

 private:
  bool scales_outputs() const { return output_scale_RD_.defined(); }

  ProjectorOptions options_;
  torch::OrderedDict<std::string, at::Tensor> parameters_;
  at::Tensor feature_mean_GF_, feature_scale_GF_, output_mean_RD_, output_scale_RD_;
};

}  // namespace kvalign
