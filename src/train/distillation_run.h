// One run of the distiller in progress: the objects it needs, and the order of epochs, steps,
// validations and saves. distiller.h is the public face.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "kvalign/dataset/loader.h"
#include "kvalign/dataset/split.h"
#include "kvalign/train/distiller.h"
#include "kvalign/train/projector_trainer.h"
#include "run_folder.h"

namespace kvalign {

class DistillationRun {
 public:
  DistillationRun(const Recipe& recipe, const DistillControl& control);
  DistillResult run();

 private:
  // Start: from nothing, or from the saved state.
  void check_same_recipe(const TrainingState& saved) const;
  void start_new();
  void resume(const TrainingState& saved);
  void make_trainer();
  void announce();

  // One epoch; false where a stop was requested.
  bool run_epoch();
  void run_step(const PairedBatch& batch);
  void check_skipped_steps(const SkippedSteps& skipped) const;
  void log_step(const StepOutcome& outcome, double learning_rate);
  void finish_epoch();
  void validate();
  void record(const Validation& validation);
  void save_projector(const std::string& path);
  void save_state();
  DistillResult result(bool interrupted) const;

  const Recipe recipe_;
  const DistillControl control_;
  TrainObserver silent_observer_;
  TrainObserver& observer_;
  const c10::Device device_;
  RunFolder folder_;
  std::shared_ptr<const PairedDataset> dataset_;
  Split split_;
  std::shared_ptr<KvProjector> projector_;
  std::shared_ptr<const ReceiverReading> reading_;  ///< null where no term reads
  std::optional<TaskHead> task_head_;
  double task_head_accuracy_ = -1;
  std::unique_ptr<MultiTaskLoss> loss_;
  std::unique_ptr<RoundTripLoss> round_trip_;
  std::unique_ptr<ProjectorTrainer> trainer_;
  std::unique_ptr<BatchLoader> train_loader_, validation_loader_;
  int64_t total_steps_ = 0;
  TrainingProgress progress_;
  nlohmann::ordered_json last_validation_;  ///< for the checkpoint's metadata; null where none

  std::chrono::steady_clock::time_point start_time_, log_time_;
  int64_t start_step_ = 0, log_tokens_ = 0;
};

}  // namespace kvalign
