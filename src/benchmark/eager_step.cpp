// See eager_step.h.
#include "eager_step.h"

#include <ATen/ATen.h>
#include <torch/optim/adamw.h>

namespace kvalign::benchmark {

StepData StepData::to(at::ScalarType dtype) const {
  return {sender_BTd.to(dtype), receiver_BTD.to(dtype),
          TaskHead{head.weight_KC.to(dtype), head.bias_K.to(dtype)}};
}

struct EagerStep::State {
  std::vector<at::Tensor> weights;  // [D, d], [D], gamma [D], beta [D]
  double epsilon = 0;
  std::unique_ptr<torch::optim::AdamW> optimiser;
};

EagerStep::EagerStep(const KvProjector& projector, at::ScalarType dtype, double learning_rate)
    : state_(std::make_unique<State>()) {
  const auto named = projector.projector().named_parameters();
  for (const char* name : {"linear.weight", "linear.bias", "norm.gamma", "norm.beta"}) {
    state_->weights.push_back(
        named[name].detach()[0].to(dtype, false, /*copy=*/true).requires_grad_());
  }
  state_->epsilon = projector.options().norm_epsilon;
  state_->optimiser = std::make_unique<torch::optim::AdamW>(
      state_->weights, torch::optim::AdamWOptions(learning_rate));
}

EagerStep::~EagerStep() = default;

std::vector<at::Tensor> EagerStep::step(const StepData& data) {
  const at::AutoGradMode with_gradients(true);
  const auto& weights = state_->weights;
  const int64_t width = weights[1].size(0);
  const at::Tensor projected_BTD =
      at::layer_norm(at::linear(data.sender_BTd, weights[0], weights[1]), {width}, weights[2],
                     weights[3], state_->epsilon);
  const at::Tensor mse = at::mse_loss(projected_BTD, data.receiver_BTD);
  const at::Tensor cosine =
      1 - at::cosine_similarity(projected_BTD, data.receiver_BTD, /*dim=*/-1).mean();
  const auto scores = [&](const at::Tensor& cache_BTD) {
    return at::linear(cache_BTD.mean(1), data.head.weight_KC, data.head.bias_K);
  };
  const at::Tensor task =
      at::cross_entropy_loss(scores(projected_BTD), scores(data.receiver_BTD).argmax(-1));
  const at::Tensor loss = mse + 0.5 * cosine + task;
  state_->optimiser->zero_grad();
  loss.backward();
  state_->optimiser->step();
  std::vector<at::Tensor> outcome = {loss.detach()};
  for (const at::Tensor& weight : weights) outcome.push_back(weight.grad());
  return outcome;
}

}  // namespace kvalign::benchmark
