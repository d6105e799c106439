// A training step of V1 as LibTorch's user would write it: autograd through at::linear and
// at::layer_norm, mse + 0.5 (1 - cosine) + 1.0 task, then torch::optim's AdamW. In float64 its loss
// and gradients are what ours are compared with. Private to benchmark/.
//
// Shapes:  B sequences   T tokens of all   d sender width   D receiver width   K classes
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "kvalign/loss/task_head.h"
#include "kvalign/projector/kv_projector.h"

namespace kvalign::benchmark {

/// Sequences of equal length; tensors of one dtype.
struct StepData {
  at::Tensor sender_BTd;
  at::Tensor receiver_BTD;
  TaskHead head;

  StepData to(at::ScalarType dtype) const;
};

class EagerStep {
 public:
  /// Copies the weights of a linear_residual with norm layer.
  EagerStep(const KvProjector& projector, at::ScalarType dtype, double learning_rate);
  ~EagerStep();

  /// Returns the loss and the gradients of weight, bias, gamma and beta.
  std::vector<at::Tensor> step(const StepData& data);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kvalign::benchmark
