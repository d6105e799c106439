// One linear map for each stream, stacked and run as one batched GEMM. Streams of one feature group
// share their features, which are never repeated in memory.
//
// Shapes:  G feature groups (divides R)   F features   R streams   D width   T tokens
#pragma once

#include <torch/nn/module.h>

#include <cstdint>

#include "kvalign/projector/projector.h"

namespace kvalign {

// features [G, T, F], weight [R, D, F], bias [R, D] or undefined -> [R, T, D]. With G = 1 < R the
// result is a view of [T, R * D].
at::Tensor stacked_linear(const at::Tensor& features_GTF, const at::Tensor& weight_RDF,
                          const at::Tensor& bias_RD);

enum class BiasInit { kZero, kUniform };

class StackedLinear : public torch::nn::Module {
 public:
  // Weights, and biases where kUniform, from U(-1/sqrt(F), 1/sqrt(F)) as torch.nn.Linear draws
  // them. Advances `generator`.
  StackedLinear(const ProjectorShape& shape, BiasInit bias_init, at::Generator& generator);

  at::Tensor forward(const at::Tensor& features_GTF) const;

  // The same, with gradients to the features alone.
  at::Tensor forward_frozen(const at::Tensor& features_GTF) const;

  // From a map of (x - mean) / scale to the same map of x; mean and scale [G, F].
  void fold_input(const at::Tensor& mean_GF, const at::Tensor& scale_GF);

  // From y to y * scale + mean; [R, D].
  void fold_output(const at::Tensor& mean_RD, const at::Tensor& scale_RD);

 private:
  at::Tensor weight_RDF_;
  at::Tensor bias_RD_;
};

}  // namespace kvalign
