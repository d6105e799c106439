// Trains a projector on a paired dataset, from a recipe to a checkpoint. Owns the order of things:
// data, statistics, task head, steps, validation, saving, resuming. One step is in train_step.h.
//
// The run folder then holds
//   config.yaml                  the resolved recipe
//   metrics.jsonl                one event a line (metrics_log.h)
//   events.out.tfevents.kvalign  the same curves for TensorBoard
//   checkpoint.safetensors       the best on validation (the last one where nothing is held out)
//   checkpoint_last.safetensors  at the last epoch's end
//   training_state.safetensors   what a resumed run starts from
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kvalign/format/export.h"
#include "kvalign/train/recipe.h"
#include "kvalign/train/train_events.h"

namespace kvalign {

/// How a run is watched and steered.
struct DistillControl {
  TrainObserver* observer = nullptr;  ///< borrowed; none where null
  std::function<bool()> stop_requested =
      {};  ///< asked after every step; true saves the state and returns
  bool resume =
      false;  ///< go on from the state in the run folder; from the start where there is none
};

struct DistillResult {
  int64_t steps = 0;
  int64_t epochs = 0;         ///< completed
  int64_t skipped_steps = 0;  ///< whose gradients were not finite
  double best_loss = 0;       ///< on validation; infinite where nothing was validated
  int64_t best_step = -1;
  bool stopped_early = false;  ///< by early_stopping_patience
  bool interrupted = false;    ///< by stop_requested; resume finishes it
  std::string checkpoint;  ///< path of checkpoint.safetensors, empty where interrupted before one
};

/// Runs `recipe` (whose run_folder must be set). On the same machine with the same number of
/// threads, a run that was killed at any point and resumed ends in the same bytes as one that was
/// not, wall-clock fields excepted. Throws std::invalid_argument for a recipe that cannot be run,
/// std::runtime_error where the run folder holds a run and `resume` is false or the recipe has
/// changed, and c10::Error where 10 steps in a row were not finite.
KVALIGN_API DistillResult distill(const Recipe& recipe, const DistillControl& control = {});

}  // namespace kvalign
