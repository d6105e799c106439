// Fine-tuning as a training run. See fine_tuner.h.
#include "kvalign/train/fine_tuner.h"

#include <ATen/ATen.h>

#include <stdexcept>
#include <utility>

#include "kvalign/core/files.h"
#include "kvalign/loss/label_term.h"
#include "named_tensors.h"
#include "preparation.h"
#include "training_run.h"

namespace kvalign {

namespace {

// Where the two come from other models, nothing of one means anything to the other.
void check_geometry(const std::string& path, const char* side, const KvGeometry& expected,
                    const KvGeometry& came) {
  if (expected == came) return;
  throw std::runtime_error("fine_tune.checkpoint " + path + ": expected a projector for the " +
                           side + " of the dataset, " + expected.model + ", got one for " +
                           came.model + ". Both must agree, rope included");
}

// The same function with the standardisation that training a projector works best with.
std::shared_ptr<KvProjector> standardised_copy(const KvProjector& original,
                                               const FeatureStatistics& statistics) {
  ProjectorOptions options = original.options();
  options.standardise_features = true;
  options.standardise_targets = options.norm != "rms";  // its scale has no place for a mean
  auto copy = std::make_shared<KvProjector>(options, original.sender(), original.receiver());
  copy_by_name(named_tensors(copy->projector(), ""), named_tensors(original.projector(), ""),
               "fine_tune");
  copy->projector().standardise_fitted(statistics);
  return copy;
}

class FineTuningRun : public TrainingRun {
 public:
  FineTuningRun(const FineTuneRecipe& recipe, const DistillControl& control);

 private:
  bool trains_head() const { return options_.train != "projector"; }
  bool trains_projector() const { return options_.train != "head"; }
  void check_labels_are_there() const;
  void check_split(const Checkpoint& start) const;
  void check_classes(int64_t num_classes) const;
  void start_new() override;
  void resume(const TrainingState& saved) override;
  void make_trainer();
  void before_first_step() override;
  Checkpoint checkpoint(std::string metrics) const override;
  std::vector<NamedTensor> state_tensors() const override;

  const FineTuneOptions options_;
  std::optional<TaskHead> start_head_;  // the checkpoint's
  StandardisedTaskHead head_;
};

FineTuningRun::FineTuningRun(const FineTuneRecipe& recipe, const DistillControl& control)
    : TrainingRun(recipe.recipe,
                  options_to_yaml(FineTuneRecipe{resumable_part(recipe.recipe), recipe.fine_tune}),
                  control),
      options_(recipe.fine_tune) {
  check_labels_are_there();
  const Checkpoint start = load_checkpoint(options_.checkpoint);
  check_geometry(options_.checkpoint, "sender", dataset_->index().sender.geometry,
                 start.projector->sender());
  check_geometry(options_.checkpoint, "receiver", dataset_->index().receiver.geometry,
                 start.projector->receiver());
  check_split(start);
  projector_ = start.projector;
  start_head_ = start.task_head;
}

void FineTuningRun::check_labels_are_there() const {
  if (dataset_->has_labels()) return;
  throw std::invalid_argument("fine-tune: the dataset " + dataset_->folder().string() +
                              " has no labels to learn. Capture a token file that has them "
                              "(scripts/tokenise.py --labels)");
}

void FineTuningRun::check_split(const Checkpoint& start) const {
  if (start.dataset_sha256 != dataset_->sha256()) {
    observer_.on_warning(options_.checkpoint +
                         " was trained on another dataset; whether it has seen the texts that are "
                         "held out here is not known");
  } else if (start.split_sha256 != split_.sha256) {
    throw std::runtime_error("fine_tune.checkpoint " + options_.checkpoint +
                             " was trained on another split of this dataset (SHA-256 " +
                             start.split_sha256 + ") than the recipe's (" + split_.sha256 +
                             "): it has seen sequences that are held out here. Take the split of "
                             "its run");
  }
}

void FineTuningRun::check_classes(int64_t num_classes) const {
  for (const auto* part : {&split_.train, &split_.validation}) {
    for (const int64_t sequence : *part) {
      const int64_t label = dataset_->label(sequence).value();
      if (label >= 0 && label < num_classes) continue;
      throw std::runtime_error("fine-tune: expected labels from 0 to " +
                               std::to_string(num_classes - 1) + ", the head's classes, got " +
                               std::to_string(label) + " for sequence " + std::to_string(sequence) +
                               ". A head has the classes of the training split it was made with");
    }
  }
}

void FineTuningRun::start_new() {
  Recipe measured = recipe_;  // what the distiller would measure with such a recipe
  measured.projector.standardise_features = trains_projector();
  measured.projector.standardise_targets = trains_projector();
  measured.loss.task = trains_head() || !start_head_ ? 1.0 : 0.0;
  const Preparation preparation = prepare(measured, dataset_, split_, *projector_);
  if (preparation.statistics) {
    projector_ = standardised_copy(*projector_, *preparation.statistics);
  }
  const TaskHead head = start_head_ ? *start_head_ : preparation.task_head->head;
  check_classes(head.bias_K.size(0));
  if (trains_head()) {
    head_ = standardise(head, preparation.task_head->mean_C, preparation.task_head->scale_C);
  } else {
    const at::Tensor any_C = head.weight_KC[0];
    head_ = {head.weight_KC, head.bias_K, at::zeros_like(any_C), at::ones_like(any_C)};
  }
  write_file_atomically(folder_.file("config.yaml"),
                        options_to_yaml(FineTuneRecipe{recipe_, options_}));
  make_trainer();
  log_start();
  if (!start_head_) log_task_head(*preparation.task_head);
}

void FineTuningRun::resume(const TrainingState& saved) {
  if (has_statistics(saved.tensors)) {
    const FeatureStatistics none = identity_statistics(projector_->projector().shape());
    projector_ = standardised_copy(*projector_, none);
  }
  const auto tensor = [&](const std::string& name) {
    return with_prefix_removed(saved.tensors, name).at(0).tensor;
  };
  head_ = {tensor("task_head.weight"), tensor("task_head.bias"), tensor("task_head.mean"),
           tensor("task_head.scale")};
  make_trainer();
}

void FineTuningRun::make_trainer() {
  projector_->projector().to(device_);
  if (!trains_projector()) {
    for (at::Tensor& weight : projector_->projector().parameters()) weight.requires_grad_(false);
  }
  head_ = head_.to(device_);
  NamedParameters trained;
  if (trains_head()) {
    trained = {{"task_head.weight", head_.weight_KC.requires_grad_()},
               {"task_head.bias", head_.bias_K.requires_grad_()}};
  }
  loss_ = std::make_unique<MultiTaskLoss>(std::make_unique<LabelTerm>(head_));
  trainer_ =
      std::make_unique<ProjectorTrainer>(*projector_, *loss_, recipe_.train, device_, trained);
}

// So that no worse step is ever chosen than none at all.
void FineTuningRun::before_first_step() {
  if (has_validation()) validate();
}

Checkpoint FineTuningRun::checkpoint(std::string metrics) const {
  const at::NoGradGuard no_gradients;
  Checkpoint checkpoint = TrainingRun::checkpoint(std::move(metrics));
  checkpoint.recipe = options_to_yaml(FineTuneRecipe{recipe_, options_});
  checkpoint.task_head = head_.folded().to(at::kCPU);
  return checkpoint;
}

std::vector<NamedTensor> FineTuningRun::state_tensors() const {
  std::vector<NamedTensor> tensors = trainer_->state();
  tensors.push_back({"task_head.weight", head_.weight_KC});
  tensors.push_back({"task_head.bias", head_.bias_K});
  tensors.push_back({"task_head.mean", head_.mean_C});
  tensors.push_back({"task_head.scale", head_.scale_C});
  return tensors;
}

}  // namespace

DistillResult fine_tune(const FineTuneRecipe& recipe, const DistillControl& control) {
  validate_options(recipe);
  return FineTuningRun(recipe, control).run();
}

}  // namespace kvalign
