// The public face of a run, and how a run starts.
#include "kvalign/train/distiller.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "closed_form.h"
#include "closed_form_sums.h"
#include "distillation_run.h"
#include "kvalign/core/device.h"
#include "kvalign/core/files.h"
#include "kvalign/train/checkpoint.h"
#include "named_tensors.h"
#include "preparation.h"

namespace kvalign {

namespace {

// What may differ between a run and its resumption is left out.
std::string fingerprint(Recipe recipe) {
  recipe.run_folder.clear();
  recipe.device.clear();
  recipe.threads = 0;
  return options_to_yaml(recipe);
}

std::string first_difference(const std::string& before, const std::string& now) {
  std::istringstream before_lines(before), now_lines(now);
  std::string before_line, now_line;
  while (std::getline(before_lines, before_line) && std::getline(now_lines, now_line)) {
    if (before_line != now_line) return "\"" + before_line + "\" became \"" + now_line + "\"";
  }
  return "the recipe has other fields";
}

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

DistillationRun::DistillationRun(const Recipe& recipe, const DistillControl& control)
    : recipe_(recipe),
      control_(control),
      observer_(control.observer ? *control.observer : silent_observer_),
      device_(resolve_device(recipe.device)),
      folder_(recipe.run_folder, control.resume),
      dataset_(open_dataset(recipe.dataset)),
      split_(split_by_sequence(*dataset_, recipe.split)) {
  projector_ = std::make_shared<KvProjector>(recipe_.projector, dataset_->index().sender.geometry,
                                             dataset_->index().receiver.geometry);
  round_trip_ = std::make_unique<RoundTripLoss>(*projector_, recipe_.round_trip, recipe_.loss);
  train_loader_ = std::make_unique<BatchLoader>(dataset_, split_.train,
                                                loader_options(recipe_, *dataset_, true));
  if (!split_.validation.empty()) {
    validation_loader_ = std::make_unique<BatchLoader>(dataset_, split_.validation,
                                                       loader_options(recipe_, *dataset_, false));
  }
  for (int64_t epoch = 0; epoch < recipe_.train.epochs; ++epoch) {
    total_steps_ += train_loader_->num_batches(epoch);
  }
  const auto& saved = folder_.saved_state();
  if (saved) check_same_recipe(*saved);
  // Before anything is measured or written, so that a wrong receiver is said at once.
  reading_ = open_receiver_reading(recipe_, dataset_, device_);
  folder_.open_logs();
  saved ? resume(*saved) : start_new();
  start_step_ = progress_.step;
  log_tokens_ = progress_.tokens;
  start_time_ = log_time_ = std::chrono::steady_clock::now();
}

void DistillationRun::check_same_recipe(const TrainingState& saved) const {
  const std::string now = fingerprint(recipe_);
  if (saved.recipe != now) {
    throw std::runtime_error(folder_.state() +
                             ": the recipe has changed since this run was saved: " +
                             first_difference(saved.recipe, now) +
                             ". Resume with the old recipe, or start in another run_folder");
  }
  if (saved.dataset_sha256 != dataset_->sha256()) {
    throw std::runtime_error(folder_.state() + ": expected the dataset with SHA-256 " +
                             saved.dataset_sha256 + ", got " + dataset_->sha256() + " in " +
                             recipe_.dataset.folder + ". Start in another run_folder");
  }
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
  folder_.metrics().event("start", {{"num_parameters", projector_->projector().num_parameters()},
                                    {"train_sequences", split_.train.size()},
                                    {"train_tokens", train_loader_->num_tokens()},
                                    {"validation_sequences", split_.validation.size()},
                                    {"total_steps", total_steps_},
                                    {"dataset_sha256", dataset_->sha256()},
                                    {"split_sha256", split_.sha256}});
  if (preparation.task_head) {
    const TaskHeadFit& fit = *preparation.task_head;
    task_head_accuracy_ = fit.held_out_accuracy;
    folder_.metrics().event("task_head", {{"training_accuracy", fit.training_accuracy},
                                          {"held_out_accuracy", fit.held_out_accuracy},
                                          {"majority_accuracy", fit.majority_accuracy}});
  }
}

void DistillationRun::resume(const TrainingState& saved) {
  progress_ = saved.progress;
  if (has_statistics(saved.tensors)) set_identity_statistics(*projector_);
  const std::vector<NamedTensor> head = with_prefix_removed(saved.tensors, "task_head.");
  for (const NamedTensor& tensor : head) {
    if (!task_head_) task_head_.emplace();
    (tensor.name == "weight" ? task_head_->weight_KC : task_head_->bias_K) = tensor.tensor;
  }
  make_trainer();
  trainer_->load_state(saved.tensors);
}

void DistillationRun::make_trainer() {
  projector_->projector().to(device_);
  if (task_head_) task_head_ = task_head_->to(device_);
  loss_ = std::make_unique<MultiTaskLoss>(recipe_.loss, task_head_, reading_);
  trainer_ = std::make_unique<ProjectorTrainer>(*projector_, *loss_, recipe_.train, device_,
                                                round_trip_.get());
}

void DistillationRun::save_state() {
  TrainingState state{.progress = progress_,
                      .recipe = fingerprint(recipe_),
                      .dataset_sha256 = dataset_->sha256(),
                      .tensors = trainer_->state()};
  if (task_head_) {
    state.tensors.push_back({"task_head.weight", task_head_->weight_KC});
    state.tensors.push_back({"task_head.bias", task_head_->bias_K});
  }
  folder_.save(std::move(state));
  observer_.on_save("training_state", folder_.state());
}

}  // namespace kvalign
