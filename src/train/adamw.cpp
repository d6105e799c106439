// The optimiser's arithmetic is ATen's fused kernel; here are its state and its controls.
#include "kvalign/train/adamw.h"

#include <ATen/Functions.h>
#include <c10/util/Exception.h>

#include <optional>

namespace kvalign {

AdamW::AdamW(NamedParameters parameters, AdamWOptions options) : options_(options) {
  for (auto& [name, parameter] : parameters) {
    names_.push_back(name);
    exp_avgs_.push_back(at::zeros_like(parameter));
    exp_avg_sqs_.push_back(at::zeros_like(parameter));
    steps_.push_back(at::zeros({}, parameter.options().dtype(at::kFloat).requires_grad(false)));
    parameters_.push_back(std::move(parameter));
  }
}

std::vector<at::Tensor> AdamW::gradients() const {
  std::vector<at::Tensor> gradients;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    TORCH_CHECK(parameters_[i].grad().defined(), "AdamW: parameter ", names_[i],
                " has no gradient. Was it part of the loss, and was backward() called?");
    gradients.push_back(parameters_[i].grad());
  }
  return gradients;
}

StepControl AdamW::measure_gradients(double gradient_clip) const {
  const at::NoGradGuard no_grad;
  StepControl control;
  control.grad_norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients())), 2);
  control.found_inf = at::isfinite(control.grad_norm).logical_not().to(at::kFloat);
  if (gradient_clip > 0) control.grad_scale = (control.grad_norm / gradient_clip).clamp_min(1.0);
  return control;
}

void AdamW::step(double learning_rate, const StepControl& control) {
  const at::NoGradGuard no_grad;
  // A skipped step does not count, as in torch.optim: the bias correction must not run ahead.
  at::_foreach_add_(steps_, 1 - control.found_inf);
  const auto optional = [](const at::Tensor& tensor) {
    return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
  };
  at::_fused_adamw_(parameters_, gradients(), exp_avgs_, exp_avg_sqs_, /*max_exp_avg_sqs=*/{},
                    steps_, learning_rate, options_.beta1, options_.beta2, options_.weight_decay,
                    options_.epsilon, /*amsgrad=*/false, /*maximize=*/false,
                    optional(control.grad_scale), optional(control.found_inf));
}

void AdamW::zero_grad() {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad() = at::Tensor();
}

std::vector<NamedTensor> AdamW::state() const {
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < names_.size(); ++i) {
    tensors.push_back({"exp_avg." + names_[i], exp_avgs_[i]});
    tensors.push_back({"exp_avg_sq." + names_[i], exp_avg_sqs_[i]});
    tensors.push_back({"step." + names_[i], steps_[i]});
  }
  return tensors;
}

}  // namespace kvalign
