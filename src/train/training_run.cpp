// The order of things in a run: epochs, steps, validations, saves. See training_run.h.
#include "training_run.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "kvalign/core/device.h"
#include "kvalign/train/checkpoint.h"
#include "kvalign/train/schedule.h"
#include "preparation.h"

namespace kvalign {

namespace {

constexpr int64_t kMostSkippedStepsInARow = 10;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string first_difference(const std::string& before, const std::string& now) {
  std::istringstream before_lines(before), now_lines(now);
  std::string before_line, now_line;
  while (std::getline(before_lines, before_line) && std::getline(now_lines, now_line)) {
    if (before_line != now_line) return "\"" + before_line + "\" became \"" + now_line + "\"";
  }
  return "the recipe has other fields";
}

}  // namespace

Recipe resumable_part(Recipe recipe) {
  recipe.run_folder.clear();
  recipe.device.clear();
  recipe.threads = 0;
  return recipe;
}

TrainingRun::TrainingRun(const Recipe& recipe, std::string fingerprint,
                         const DistillControl& control)
    : recipe_(recipe),
      control_(control),
      observer_(control.observer ? *control.observer : silent_observer_),
      device_(resolve_device(recipe.device)),
      folder_(recipe.run_folder, control.resume),
      dataset_(open_dataset(recipe.dataset)),
      split_(split_by_sequence(*dataset_, recipe.split)),
      fingerprint_(std::move(fingerprint)) {
  train_loader_ = std::make_unique<BatchLoader>(dataset_, split_.train,
                                                loader_options(recipe_, *dataset_, true));
  if (!split_.validation.empty()) {
    validation_loader_ = std::make_unique<BatchLoader>(dataset_, split_.validation,
                                                       loader_options(recipe_, *dataset_, false));
  }
  for (int64_t epoch = 0; epoch < recipe_.train.epochs; ++epoch) {
    total_steps_ += train_loader_->num_batches(epoch);
  }
  if (folder_.saved_state()) check_same_recipe(*folder_.saved_state());
}

TrainingRun::~TrainingRun() = default;

void TrainingRun::check_same_recipe(const TrainingState& saved) const {
  if (saved.recipe != fingerprint_) {
    throw std::runtime_error(folder_.state() +
                             ": the recipe has changed since this run was saved: " +
                             first_difference(saved.recipe, fingerprint_) +
                             ". Resume with the old recipe, or start in another run_folder");
  }
  if (saved.dataset_sha256 != dataset_->sha256()) {
    throw std::runtime_error(folder_.state() + ": expected the dataset with SHA-256 " +
                             saved.dataset_sha256 + ", got " + dataset_->sha256() + " in " +
                             recipe_.dataset.folder + ". Start in another run_folder");
  }
}

DistillResult TrainingRun::run() {
  begin();
  announce();
  if (progress_.step == 0) before_first_step();
  while (!progress_.finished) {
    if (!run_epoch()) {
      save_state();
      return result(/*interrupted=*/true);
    }
    finish_epoch();
  }
  return result(/*interrupted=*/false);
}

void TrainingRun::begin() {
  const auto& saved = folder_.saved_state();
  folder_.open_logs();
  if (saved) {
    progress_ = saved->progress;
    resume(*saved);
    trainer_->load_state(saved->tensors);
  } else {
    start_new();
  }
  start_step_ = progress_.step;
  log_tokens_ = progress_.tokens;
  start_time_ = log_time_ = std::chrono::steady_clock::now();
}

void TrainingRun::log_start() {
  folder_.metrics().event("start", {{"num_parameters", projector_->projector().num_parameters()},
                                    {"train_sequences", split_.train.size()},
                                    {"train_tokens", train_loader_->num_tokens()},
                                    {"validation_sequences", split_.validation.size()},
                                    {"total_steps", total_steps_},
                                    {"dataset_sha256", dataset_->sha256()},
                                    {"split_sha256", split_.sha256}});
}

void TrainingRun::log_task_head(const TaskHeadFit& fit) {
  task_head_accuracy_ = fit.held_out_accuracy;
  folder_.metrics().event("task_head", {{"training_accuracy", fit.training_accuracy},
                                        {"held_out_accuracy", fit.held_out_accuracy},
                                        {"majority_accuracy", fit.majority_accuracy}});
}

void TrainingRun::announce() {
  observer_.on_start({.num_parameters = projector_->projector().num_parameters(),
                      .train_sequences = static_cast<int64_t>(split_.train.size()),
                      .train_tokens = train_loader_->num_tokens(),
                      .validation_sequences = static_cast<int64_t>(split_.validation.size()),
                      .steps_per_epoch = train_loader_->num_batches(0),
                      .total_steps = total_steps_,
                      .resumed_from_step = progress_.step,
                      .task_head_accuracy = task_head_accuracy_});
  if (split_.validation.empty()) {
    observer_.on_warning(
        "split.validation is 0: nothing is validated, checkpoint.safetensors is the last one, and "
        "early stopping does nothing");
  }
}

bool TrainingRun::run_epoch() {
  train_loader_->start(progress_.epoch, progress_.next_batch);
  for (PairedBatch batch; train_loader_->next(batch);) {
    run_step(batch);
    if (control_.stop_requested && control_.stop_requested()) return false;
    if (progress_.step % recipe_.train.checkpoint_every_steps == 0) save_state();
  }
  return true;
}

void TrainingRun::run_step(const PairedBatch& batch) {
  const double learning_rate = learning_rate_at({.kind = recipe_.train.schedule,
                                                 .learning_rate = recipe_.train.learning_rate,
                                                 .warmup_steps = recipe_.train.warmup_steps,
                                                 .total_steps = total_steps_},
                                                progress_.step);
  const StepOutcome outcome = trainer_->step(batch, learning_rate, progress_.step);
  progress_.step += 1;
  progress_.next_batch += 1;
  progress_.tokens += batch.num_tokens();
  const bool log_now = progress_.step % recipe_.train.log_every_steps == 0;
  // Reading the counters waits for the device, so on CUDA it is done only where the log waits
  // anyway.
  if (log_now || device_.is_cpu()) check_skipped_steps(trainer_->skipped_steps());
  if (log_now) log_step(outcome, learning_rate);
}

void TrainingRun::check_skipped_steps(const SkippedSteps& skipped) const {
  TORCH_CHECK(
      skipped.longest_row < kMostSkippedStepsInARow, "distill: ", kMostSkippedStepsInARow,
      " steps in a row had gradients that are not finite, the last up to step ", progress_.step,
      " (train.learning_rate ", recipe_.train.learning_rate,
      "). Lower train.learning_rate, set train.gradient_clip=1, or turn train.autocast off; "
      "then start again in another run_folder");
}

void TrainingRun::log_step(const StepOutcome& outcome, double learning_rate) {
  TrainStep step{.step = progress_.step,
                 .epoch = progress_.epoch,
                 .total_steps = total_steps_,
                 .loss = outcome.loss.total.item<double>(),
                 .grad_norm = outcome.grad_norm.item<double>(),
                 .learning_rate = learning_rate,
                 .tokens = progress_.tokens,
                 .skipped_steps = trainer_->skipped_steps().total};
  for (const auto& [name, value] : outcome.loss.terms) {
    step.terms.emplace_back(name, value.item<double>());
  }
  step.tokens_per_s =
      static_cast<double>(progress_.tokens - log_tokens_) / seconds_since(log_time_);
  step.eta_s = seconds_since(start_time_) / static_cast<double>(progress_.step - start_step_) *
               static_cast<double>(total_steps_ - progress_.step);
  log_time_ = std::chrono::steady_clock::now();
  log_tokens_ = progress_.tokens;

  nlohmann::ordered_json fields = {{"step", step.step}, {"epoch", step.epoch}, {"loss", step.loss}};
  folder_.events().scalar("train/loss", step.step, static_cast<float>(step.loss));
  for (const auto& [name, value] : step.terms) {
    fields["loss_" + name] = value;
    folder_.events().scalar("train/loss_" + name, step.step, static_cast<float>(value));
  }
  fields.update({{"grad_norm", step.grad_norm},
                 {"learning_rate", learning_rate},
                 {"tokens", step.tokens},
                 {"skipped_steps", step.skipped_steps},
                 {"tokens_per_s", step.tokens_per_s}});
  folder_.metrics().event("train_step", fields);
  folder_.events().scalar("train/grad_norm", step.step, static_cast<float>(step.grad_norm));
  folder_.events().scalar("train/learning_rate", step.step, static_cast<float>(learning_rate));
  observer_.on_step(step);
}

void TrainingRun::finish_epoch() {
  progress_.epoch += 1;
  progress_.next_batch = 0;
  last_validation_ = nullptr;  // a checkpoint tells of the validation at its own step, or of none
  // On CUDA the last steps of an epoch may not have been looked at yet.
  check_skipped_steps(trainer_->skipped_steps());
  const bool last = progress_.epoch == recipe_.train.epochs;
  if (validation_loader_ && (last || progress_.epoch % recipe_.train.validate_every == 0))
    validate();
  save_projector(folder_.last_checkpoint());
  if (!validation_loader_) save_projector(folder_.checkpoint());
  const int64_t patience = recipe_.train.early_stopping_patience;
  progress_.stopped_early =
      !last && patience > 0 && progress_.validations_without_improvement >= patience;
  progress_.finished = last || progress_.stopped_early;
  if (progress_.finished) {
    folder_.metrics().event("finish", {{"step", progress_.step},
                                       {"epoch", progress_.epoch},
                                       {"best_loss", progress_.best_loss},
                                       {"best_step", progress_.best_step},
                                       {"stopped_early", progress_.stopped_early}});
  }
  save_state();
}

void TrainingRun::validate() {
  double total = 0;
  std::vector<std::pair<std::string, double>> terms;
  int64_t tokens = 0;
  validation_loader_->start(/*epoch=*/0);
  for (PairedBatch batch; validation_loader_->next(batch);) {
    const LossValue loss = trainer_->evaluate(batch);
    const auto weight = static_cast<double>(batch.num_tokens());
    total += weight * loss.total.item<double>();
    for (size_t i = terms.size(); i < loss.terms.size(); ++i) {
      terms.emplace_back(loss.terms[i].first, 0.0);
    }
    for (size_t i = 0; i < terms.size(); ++i) {
      terms[i].second += weight * loss.terms[i].second.item<double>();
    }
    tokens += batch.num_tokens();
  }
  Validation validation{.step = progress_.step,
                        .epoch = progress_.epoch,
                        .loss = total / static_cast<double>(tokens)};
  for (auto& [name, sum] : terms) {
    validation.terms.emplace_back(name, sum / static_cast<double>(tokens));
  }
  validation.improved = validation.loss < progress_.best_loss;
  if (validation.improved) {
    progress_.best_loss = validation.loss;
    progress_.best_step = progress_.step;
  }
  progress_.validations_without_improvement =
      validation.improved ? 0 : progress_.validations_without_improvement + 1;
  record(validation);
}

void TrainingRun::record(const Validation& validation) {
  nlohmann::ordered_json fields = {
      {"step", validation.step}, {"epoch", validation.epoch}, {"loss", validation.loss}};
  folder_.events().scalar("validation/loss", validation.step, static_cast<float>(validation.loss));
  for (const auto& [name, value] : validation.terms) {
    fields["loss_" + name] = value;
    folder_.events().scalar("validation/loss_" + name, validation.step, static_cast<float>(value));
  }
  last_validation_ = fields;
  fields["improved"] = validation.improved;
  folder_.metrics().event("validation", fields);
  observer_.on_validation(validation);
  if (validation.improved) save_projector(folder_.checkpoint());
}

void TrainingRun::save_projector(const std::string& path) {
  nlohmann::ordered_json metrics = {{"step", progress_.step}, {"epoch", progress_.epoch}};
  if (!last_validation_.is_null()) metrics["validation"] = last_validation_;
  save_checkpoint(path, checkpoint(metrics.dump()));
  const std::string name = path.substr(path.rfind('/') + 1);
  folder_.metrics().event("checkpoint", {{"step", progress_.step}, {"file", name}});
  observer_.on_save("checkpoint", path);
}

Checkpoint TrainingRun::checkpoint(std::string metrics) const {
  return make_checkpoint(recipe_, *dataset_, split_, projector_, std::move(metrics));
}

void TrainingRun::save_state() {
  folder_.save({.progress = progress_,
                .recipe = fingerprint_,
                .dataset_sha256 = dataset_->sha256(),
                .tensors = state_tensors()});
  observer_.on_save("training_state", folder_.state());
}

DistillResult TrainingRun::result(bool interrupted) const {
  return {.steps = progress_.step,
          .epochs = progress_.epoch,
          .skipped_steps = trainer_->skipped_steps().total,
          .best_loss = progress_.best_loss,
          .best_step = progress_.best_step,
          .stopped_early = progress_.stopped_early,
          .interrupted = interrupted,
          .checkpoint = std::filesystem::exists(folder_.checkpoint()) ? folder_.checkpoint() : ""};
}

}  // namespace kvalign
