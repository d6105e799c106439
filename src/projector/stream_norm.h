// What every learned kind ends with: a norm over the width of each stream (or none), and the mean
// and scale of the targets where they are set. For layer and rms these join gamma and beta, so that
// training pays nothing for them.
//
// Shapes:  R streams   T tokens   D width
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <string>

#include "stacked_linear.h"

namespace kvalign {

enum class NormKind { kLayer, kRms, kNone };

// "layer", "rms" or "none". Errors: c10::Error for another word.
NormKind norm_kind(const std::string& name);

class StreamNorm : public torch::nn::Module {
 public:
  // gamma [R, D] of ones (layer, rms) and beta [R, D] of zeros (layer); no parameters for none.
  StreamNorm(NormKind kind, double epsilon, int64_t num_streams, int64_t width);

  // norm(x) * scale + mean. `scale` and `mean` [R, D] are both defined or both not.
  // layer: (x - E x) / sqrt(Var x + epsilon) * gamma + beta (arXiv 1607.06450)
  // rms:   x / sqrt(E x^2 + epsilon) * gamma (arXiv 1910.07467); `mean` must be 0
  at::Tensor forward(const at::Tensor& input_RTD, const at::Tensor& mean_RD,
                     const at::Tensor& scale_RD) const;

  // From norm(x) to norm(x) * scale + mean, [R, D]. `last` is the map that makes x: where there is
  // no norm, it takes them.
  void fold_output(StackedLinear& last, const at::Tensor& mean_RD, const at::Tensor& scale_RD);

 private:
  NormKind kind_;
  double epsilon_;
  at::Tensor gamma_RD_;
  at::Tensor beta_RD_;
};

}  // namespace kvalign
