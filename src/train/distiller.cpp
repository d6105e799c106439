// Distillation: a projector is trained to make the receiver's own cache. See distiller.h.
#include "kvalign/train/distiller.h"

#include <ATen/ATen.h>

#include <optional>
#include <stdexcept>

#include "closed_form.h"
#include "closed_form_sums.h"
#include "kvalign/core/files.h"
#include "kvalign/train/checkpoint.h"
#include "named_tensors.h"
#include "preparation.h"
#include "training_run.h"

namespace kvalign {

namespace {

// The weights of a checkpoint that maps the same caches in the same way.
void copy_weights(const std::string& path, KvProjector& projector) {
  const std::shared_ptr<KvProjector> start = load_checkpoint(path).projector;
  const auto check = [&](const std::string& what, const std::string& expected,
                         const std::string& got) {
    if (expected == got) return;
    throw std::runtime_error("fit.start " + path + ": expected a projector with " + what + " " +
                             expected + ", got " + got +
                             ". Start from a checkpoint of this recipe's projector and dataset");
  };
  const ProjectorOptions &wanted = projector.projector().options(),
                         &came = start->projector().options();
  // The linear part of a residual_mlp may be a projector by itself.
  const bool is_linear_part = wanted.kind == "residual_mlp" && came.kind == "linear_residual";
  if (!is_linear_part) check("kind", wanted.kind, came.kind);
  check("norm", wanted.norm, came.norm);
  check("layer_map", options_to_yaml(wanted.layer_map), options_to_yaml(came.layer_map));
  check("sender", projector.sender().model, start->sender().model);
  check("receiver", projector.receiver().model, start->receiver().model);
  check("compress_weights", wanted.compress_weights, came.compress_weights);
  const at::NoGradGuard no_gradients;
  // Buffers too: a folded standardisation may have left its mean in one.
  const std::vector<NamedTensor> weights = named_tensors(start->projector(), "");
  for (const NamedTensor& own : named_tensors(projector.projector(), "")) {
    const auto found = std::find_if(weights.begin(), weights.end(), [&](const NamedTensor& weight) {
      return weight.name == own.name;
    });
    if (is_linear_part && found == weights.end()) continue;
    check(own.name + " of shape", c10::str(own.tensor.sizes()), c10::str(found->tensor.sizes()));
    own.tensor.detach().copy_(found->tensor);
  }
}

class DistillationRun : public TrainingRun {
 public:
  DistillationRun(const Recipe& recipe, const DistillControl& control);

 private:
  void start_new() override;
  void resume(const TrainingState& saved) override;
  std::vector<NamedTensor> state_tensors() const override;
  void make_trainer();

  std::shared_ptr<const ReceiverReading> reading_;  ///< null where no term reads
  std::optional<TaskHead> task_head_;
  std::unique_ptr<RoundTripLoss> round_trip_;
};

DistillationRun::DistillationRun(const Recipe& recipe, const DistillControl& control)
    : TrainingRun(recipe, options_to_yaml(resumable_part(recipe)), control) {
  projector_ = std::make_shared<KvProjector>(recipe_.projector, dataset_->index().sender.geometry,
                                             dataset_->index().receiver.geometry);
  round_trip_ = std::make_unique<RoundTripLoss>(*projector_, recipe_.round_trip, recipe_.loss);
  // Before anything is measured or written, so that a wrong receiver is said at once.
  reading_ = open_receiver_reading(recipe_, dataset_, device_);
}

void DistillationRun::start_new() {
  write_file_atomically(folder_.file("config.yaml"), options_to_yaml(recipe_));
  const Preparation preparation = prepare(recipe_, dataset_, split_, *projector_);
  const bool has_start = !recipe_.fit.start.empty();
  const bool is_fitted = has_start || recipe_.fit.kind == "ridge_then_adamw";
  if (has_start) {
    copy_weights(recipe_.fit.start, *projector_);
  } else if (is_fitted) {
    solve_in_closed_form(recipe_, control_, dataset_, split_, *projector_);
  }
  const auto standardise = [&](Projector& part, const FeatureStatistics& statistics) {
    is_fitted ? part.standardise_fitted(statistics) : part.set_standardisation(statistics);
  };
  if (preparation.statistics) standardise(projector_->projector(), *preparation.statistics);
  if (preparation.receiver_part) {
    standardise(*projector_->receiver_part(), *preparation.receiver_part);
  }
  if (preparation.task_head) task_head_ = preparation.task_head->head;
  make_trainer();
  log_start();
  if (preparation.task_head) log_task_head(*preparation.task_head);
}

void DistillationRun::resume(const TrainingState& saved) {
  if (has_statistics(saved.tensors)) set_identity_statistics(*projector_);
  const std::vector<NamedTensor> head = with_prefix_removed(saved.tensors, "task_head.");
  for (const NamedTensor& tensor : head) {
    if (!task_head_) task_head_.emplace();
    (tensor.name == "weight" ? task_head_->weight_KC : task_head_->bias_K) = tensor.tensor;
  }
  make_trainer();
}

void DistillationRun::make_trainer() {
  projector_->projector().to(device_);
  if (task_head_) task_head_ = task_head_->to(device_);
  loss_ = std::make_unique<MultiTaskLoss>(recipe_.loss, task_head_, reading_);
  trainer_ = std::make_unique<ProjectorTrainer>(*projector_, *loss_, recipe_.train, device_,
                                                NamedParameters{}, round_trip_.get());
}

std::vector<NamedTensor> DistillationRun::state_tensors() const {
  std::vector<NamedTensor> tensors = trainer_->state();
  if (task_head_) {
    tensors.push_back({"task_head.weight", task_head_->weight_KC});
    tensors.push_back({"task_head.bias", task_head_->bias_K});
  }
  return tensors;
}

}  // namespace

TrainObserver::~TrainObserver() = default;

DistillResult distill(const Recipe& recipe, const DistillControl& control) {
  validate_options(recipe);
  try {
    if (!recipe.fit.start.empty() && recipe.fit.kind != "adamw") {
      throw std::invalid_argument(
          "fit.start: expected fit.kind adamw, which can start from a "
          "checkpoint, got " +
          recipe.fit.kind + ". Leave one of them out");
    }
    if (recipe.projector.kind == "residual_mlp" && recipe.fit.kind == "adamw" &&
        recipe.fit.start.empty()) {
      throw std::invalid_argument(
          "projector.kind residual_mlp keeps its linear part as it was fitted: expected fit.kind "
          "ridge_then_adamw, or fit.start with a checkpoint to take it from, got neither");
    }
    if (recipe.fit.kind == "ridge") return fit_in_closed_form(recipe, control);
    return DistillationRun(recipe, control).run();
  } catch (const FitStopped&) {
    return {.interrupted = true};
  }
}

}  // namespace kvalign
