// One training run in progress, whatever it trains: the objects it needs, and the order of epochs,
// steps, validations and saves. What is trained, and on which loss, is a derived class's
// (distiller.cpp, fine_tuner.cpp).
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "kvalign/dataset/loader.h"
#include "kvalign/dataset/split.h"
#include "kvalign/loss/task_head.h"
#include "kvalign/train/checkpoint.h"
#include "kvalign/train/distiller.h"
#include "kvalign/train/projector_trainer.h"
#include "run_folder.h"

namespace kvalign {

/// `recipe` without what may differ between a run and its resumption.
Recipe resumable_part(Recipe recipe);

class TrainingRun {
 public:
  virtual ~TrainingRun();
  DistillResult run();

 protected:
  /// Opens data and run folder. `fingerprint` is the YAML of what a resumed run must share with
  /// this one. Throws std::runtime_error where the folder holds a run of another fingerprint or
  /// dataset.
  TrainingRun(const Recipe& recipe, std::string fingerprint, const DistillControl& control);

  // What a derived class says; the first two make projector_, loss_ and trainer_.
  virtual void start_new() = 0;
  virtual void resume(const TrainingState& saved) = 0;  ///< the trainer's own state is loaded after
  virtual void before_first_step() {}
  virtual Checkpoint checkpoint(std::string metrics) const;
  virtual std::vector<NamedTensor> state_tensors() const = 0;

  // Events of a new run.
  void log_start();
  void log_task_head(const TaskHeadFit& fit);

  bool has_validation() const { return validation_loader_ != nullptr; }
  void validate();

  const Recipe recipe_;
  const DistillControl control_;
  TrainObserver silent_observer_;
  TrainObserver& observer_;
  const c10::Device device_;
  RunFolder folder_;
  std::shared_ptr<const PairedDataset> dataset_;
  Split split_;
  std::shared_ptr<KvProjector> projector_;
  std::unique_ptr<MultiTaskLoss> loss_;
  std::unique_ptr<ProjectorTrainer> trainer_;

 private:
  void check_same_recipe(const TrainingState& saved) const;
  void begin();
  void announce();

  // One epoch; false where a stop was requested.
  bool run_epoch();
  void run_step(const PairedBatch& batch);
  void check_skipped_steps(const SkippedSteps& skipped) const;
  void log_step(const StepOutcome& outcome, double learning_rate);
  void finish_epoch();
  void record(const Validation& validation);
  void save_projector(const std::string& path);
  void save_state();
  DistillResult result(bool interrupted) const;

  const std::string fingerprint_;
  std::unique_ptr<BatchLoader> train_loader_, validation_loader_;
  double task_head_accuracy_ = -1;
  int64_t total_steps_ = 0;
  TrainingProgress progress_;
  nlohmann::ordered_json last_validation_;  ///< for the checkpoint's metadata; null where none

  std::chrono::steady_clock::time_point start_time_, log_time_;
  int64_t start_step_ = 0, log_tokens_ = 0;
};

}  // namespace kvalign
