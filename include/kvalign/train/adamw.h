// AdamW over ATen's fused kernel, with its state in the open so that it can be saved by name, and
// with scaling and skipping decided on the device. Not a torch::optim::Optimizer: no groups, no
// closures. Decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101), as torch.optim.AdamW
// computes it.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "kvalign/core/safetensors.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// Parameters under the names that a module gives them.
using NamedParameters = std::vector<std::pair<std::string, at::Tensor>>;

/// The defaults are torch's.
struct AdamWOptions {
  double weight_decay = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

/// Scalars on the device of the gradients that one step is controlled by; nothing is copied to the
/// host.
struct StepControl {
  at::Tensor grad_norm;   ///< float32 [], Euclidean norm over all gradients
  at::Tensor grad_scale;  ///< float32 [], gradients are divided by it; undefined without clipping
  at::Tensor found_inf;   ///< float32 [], 1 where the norm is not finite, else 0
};

class KVALIGN_API AdamW {
 public:
  /// `parameters` (floating point, one device) are shared, not copied. State starts at zero.
  AdamW(NamedParameters parameters, AdamWOptions options);

  /// Norm of the gradients, the divisor that brings it down to `gradient_clip` (0: none), and
  /// whether the step must be skipped. All gradients must be defined.
  StepControl measure_gradients(double gradient_clip) const;

  /// One update with the gradients held by the parameters. Nothing changes where found_inf is 1.
  /// Throws c10::Error naming the parameter that has no gradient.
  void step(double learning_rate, const StepControl& control);

  /// Drops the gradients; the next backward pass allocates its own.
  void zero_grad();

  /// `exp_avg.<name>`, `exp_avg_sq.<name>` (shape of the parameter) and `step.<name>` (float32 []),
  /// shared.
  std::vector<NamedTensor> state() const;

 private:
  std::vector<at::Tensor> gradients() const;

  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_, exp_avgs_, exp_avg_sqs_, steps_;
  AdamWOptions options_;
};

}  // namespace kvalign
