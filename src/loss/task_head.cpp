// Pooling, then one linear map; and its fit by L-BFGS on all sequences at once.
#include "kvalign/loss/task_head.h"

#include <ATen/ATen.h>
#include <torch/optim/lbfgs.h>

#include "kvalign/core/options.h"
#include "kvalign/loss/pooling.h"

namespace kvalign {
namespace {

void check_data(const char* name, const TaskHeadData& data, int64_t num_features) {
  TORCH_CHECK(data.pooled_BC.defined() && data.pooled_BC.dim() == 2 && data.pooled_BC.size(0) > 0 &&
                  data.pooled_BC.size(1) == num_features &&
                  data.pooled_BC.scalar_type() == at::kFloat,
              "train_task_head: expected float32 ", name, " features [sequences, ", num_features,
              "] of at least one sequence, got ",
              data.pooled_BC.defined() ? c10::str(data.pooled_BC.sizes()) : "none");
  TORCH_CHECK(data.labels_B.defined() && data.labels_B.scalar_type() == at::kLong &&
                  data.labels_B.sizes() == at::IntArrayRef({data.pooled_BC.size(0)}),
              "train_task_head: expected one int64 label for each of ", data.pooled_BC.size(0), " ",
              name, " sequences, got ",
              data.labels_B.defined() ? c10::str(data.labels_B.sizes()) : "none",
              ". Does the dataset have labels? If not, set loss.task: 0.");
  TORCH_CHECK(data.labels_B.min().item<int64_t>() >= 0,
              "train_task_head: expected labels from 0 up, got ",
              data.labels_B.min().item<int64_t>(), " in the ", name, " sequences");
}

double accuracy(const TaskHead& head, const TaskHeadData& data) {
  const at::Tensor answers = head.logits_of_pooled(data.pooled_BC).argmax(1);
  return answers.eq(data.labels_B).to(at::kDouble).mean().item<double>();
}

// Minimises cross-entropy + weight_decay / 2 * |W|^2; convex, so the start does not matter.
StandardisedTaskHead fit_logistic_regression(const TaskHeadData& data,
                                             const TaskHeadOptions& options) {
  const at::Tensor mean_C = data.pooled_BC.mean(0);
  const at::Tensor deviation_C = data.pooled_BC.std(0, /*unbiased=*/false);
  const at::Tensor scale_C = deviation_C.masked_fill(deviation_C <= mean_C.abs() * 1e-6, 1.0);
  const at::Tensor features_BC = (data.pooled_BC - mean_C) / scale_C;
  const int64_t num_classes = data.labels_B.max().item<int64_t>() + 1;
  at::Tensor weight_KC = at::zeros({num_classes, features_BC.size(1)}).requires_grad_();
  at::Tensor bias_K = at::zeros({num_classes}).requires_grad_();
  torch::optim::LBFGS optimiser(std::vector<at::Tensor>{weight_KC, bias_K},
                                torch::optim::LBFGSOptions(/*lr=*/1)
                                    .max_iter(options.max_iterations)
                                    .line_search_fn("strong_wolfe"));
  optimiser.step([&] {
    optimiser.zero_grad();
    const at::Tensor loss =
        at::cross_entropy_loss(at::linear(features_BC, weight_KC, bias_K), data.labels_B) +
        weight_KC.square().sum() * (0.5 * options.weight_decay);
    loss.backward();
    return loss;
  });
  return {weight_KC.detach(), bias_K.detach(), mean_C, scale_C};
}

}  // namespace

at::Tensor TaskHead::logits(const at::Tensor& cache_RTD, const at::Tensor& sequence_offsets) const {
  return logits_of_pooled(mean_pool(cache_RTD, sequence_offsets));
}

at::Tensor TaskHead::logits_of_pooled(const at::Tensor& pooled_BC) const {
  TORCH_CHECK(pooled_BC.dim() == 2 && pooled_BC.size(1) == weight_KC.size(1),
              "TaskHead: expected pooled caches [sequences, ", weight_KC.size(1), "], got ",
              pooled_BC.sizes(), ". Was the head trained on another receiver?");
  return at::linear(pooled_BC, weight_KC, bias_K);
}

TaskHead TaskHead::to(const at::Device& device) const {
  return {weight_KC.to(device), bias_K.to(device)};
}

TaskHead StandardisedTaskHead::folded() const {
  const at::Tensor raw_weight_KC = weight_KC / scale_C;
  return {raw_weight_KC, bias_K - at::mv(raw_weight_KC, mean_C)};
}

StandardisedTaskHead StandardisedTaskHead::to(const at::Device& device) const {
  return {weight_KC.to(device), bias_K.to(device), mean_C.to(device), scale_C.to(device)};
}

StandardisedTaskHead standardise(const TaskHead& head, const at::Tensor& mean_C,
                                 const at::Tensor& scale_C) {
  return {head.weight_KC * scale_C, head.bias_K + at::mv(head.weight_KC, mean_C), mean_C, scale_C};
}

void TaskHeadOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "max_iterations",
                 .help = "of L-BFGS over all training sequences at once",
                 .minimum = 1},
                max_iterations);
  visitor.field({.name = "weight_decay",
                 .help = "times half the squared norm of the head's weights",
                 .minimum = 0},
                weight_decay);
}

TaskHeadFit train_task_head(const TaskHeadData& training, const TaskHeadData& held_out,
                            const TaskHeadOptions& options) {
  const int64_t num_features = training.pooled_BC.defined() && training.pooled_BC.dim() == 2
                                   ? training.pooled_BC.size(1)
                                   : 0;
  check_data("training", training, num_features);
  check_data("held-out", held_out, num_features);
  const at::Tensor counts_K = at::bincount(training.labels_B);
  TORCH_CHECK(counts_K.gt(0).sum().item<int64_t>() >= 2,
              "train_task_head: expected at least two classes among ", training.labels_B.size(0),
              " training labels, got one. Set loss.task: 0 or use more sequences.");

  const StandardisedTaskHead fitted = fit_logistic_regression(training, options);
  TaskHeadFit fit{.head = fitted.folded(), .mean_C = fitted.mean_C, .scale_C = fitted.scale_C};
  fit.training_accuracy = accuracy(fit.head, training);
  fit.held_out_accuracy = accuracy(fit.head, held_out);
  fit.majority_accuracy =
      held_out.labels_B.eq(counts_K.argmax()).to(at::kDouble).mean().item<double>();
  return fit;
}

}  // namespace kvalign
