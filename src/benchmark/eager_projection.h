// A projector written down in LibTorch's own operations, as its user would: at::linear, at::gelu,
// at::layer_norm. In float64 it is what every variant is compared with. Private to benchmark/.
//
// Shapes:  S sender streams   G feature groups   R receiver streams   T tokens   d sender width
//          F features   D receiver width   O = R / G * D
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kvalign/projector/kv_projector.h"

namespace kvalign::benchmark {

/// One linear map of all groups, without statistics.
struct LinearStage {
  at::Tensor weight_GOF;
  at::Tensor bias_GO;
};

class EagerProjection {
 public:
  /// Copies the weights of linear_residual, mlp or low_rank (whose latent it leaves as it is), norm
  /// layer or none, without statistics. Throws c10::Error for another kind, and several streams of
  /// mlp.
  EagerProjection(const KvProjector& projector, at::ScalarType dtype);

  /// [S, T, d] -> [R, T, D].
  at::Tensor project(const at::Tensor& sender_STd) const;

  /// The second half of low_rank: [1, T, r] -> [R, T, D].
  at::Tensor project_latent(const at::Tensor& latent_1Tr) const;

  at::Tensor features(const at::Tensor& sender_STd) const { return plan_.gather(sender_STd); }
  const std::vector<LinearStage>& stages() const { return stages_; }

 private:
  at::Tensor streams_of(const at::Tensor& output_GTO) const;

  FeaturePlan plan_;
  int64_t num_streams_ = 0;
  bool has_gelu_ = false;
  double epsilon_ = 0;
  std::vector<LinearStage> stages_;
  at::Tensor gamma_RD_, beta_RD_;  ///< undefined without a norm
};

}  // namespace kvalign::benchmark
