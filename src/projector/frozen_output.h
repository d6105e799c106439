// What a learned kind ends with, laid out for running: a linear map and the norm of its outputs.
//
// LayerNorm's mean is taken out of the map (its weights and bias are centred over the outputs, in
// float64), so that only the mean square of a row remains to be known. It comes from one of two:
//   - the product's row itself, while the row is in the cache (kvalign/ops/row_norm.h; on a GPU by
//     ATen's fused norms, which read it again);
//   - on a CPU the features, before the product: with A = [W, b] and a = [x, 1], |A a|^2 = |K a|^2
//   for any
//     K with K'K = A'A. Then a is multiplied by 1 / sqrt(|K a|^2 / D + epsilon), gamma is part of
//     A and beta a column of it, and the product is the result: no pass over the outputs, neither
//     for a norm nor for a bias. K has F + 1 rows, so that this pays for wide outputs alone.
//
// Shapes:  G feature groups   F features   R streams   D width   T tokens   K rows of K
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>

#include "frozen_map.h"
#include "trained_weights.h"

namespace kvalign {

class FrozenOutput {
 public:
  /// As FrozenMap; `norm` follows the map.
  FrozenOutput(const ProjectorShape& shape, const std::function<StreamMap(int64_t)>& map_of,
               const NormFactors& norm, const FrozenLayout& layout);

  /// [G, T, F] of feature_dtype() -> [R, T, D] of the layout's dtype.
  at::Tensor run(const at::Tensor& features_GTF) const;

  at::ScalarType feature_dtype() const { return map_->feature_dtype(); }

 private:
  void keep_factors(const NormFactors& norm);
  at::Tensor scaled_features(const at::Tensor& features_GTF) const;
  at::Tensor run_and_normalise(const at::Tensor& features_GTF) const;
  void normalise(at::Tensor& output_RTD, int64_t first_stream) const;
  at::Tensor normalised(const at::Tensor& output_RTD) const;  ///< on another device than the CPU

  at::ScalarType dtype_;
  NormKind kind_;
  double epsilon_;
  std::optional<FrozenMap> map_;
  std::optional<FrozenMap> squares_;  ///< to K a; none where the norm reads the outputs
  at::Tensor gamma_RD_, beta_RD_;     ///< of the norm that reads the outputs
  at::Tensor gamma_D_, beta_D_;       ///< of a single stream: views of them
};

}  // namespace kvalign
