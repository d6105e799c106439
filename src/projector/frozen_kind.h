// A projector of one kind, laid out for running: features in, streams out, without gradients.
//
// Shapes:  G feature groups   F features   R streams   D width   T tokens   k numbers of a latent
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "frozen_map.h"
#include "kvalign/projector/projector.h"

namespace kvalign {

class FrozenKind {
 public:
  virtual ~FrozenKind() = default;

  /// [G, T, F], float32 or of the projector's dtype -> [R, T, D].
  virtual at::Tensor project(const at::Tensor& features_GTF) const = 0;

  /// low_rank: [1, T, k] -> [R, T, D]. Throws c10::Error for other kinds, and another shape.
  virtual at::Tensor project_latent(const at::Tensor& latent_1Tk) const;
};

/// linear_residual, mlp, residual_mlp and low_rank from weights of their own, made here; others run
/// `projector` itself. Outputs are of the layout's dtype.
std::unique_ptr<const FrozenKind> freeze(std::shared_ptr<Projector> projector,
                                         const FrozenLayout& layout);

}  // namespace kvalign
