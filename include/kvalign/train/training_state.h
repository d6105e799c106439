// Everything that a killed run needs to go on as if nothing had happened: one safetensors file,
// written atomically. Not a checkpoint: it holds the optimiser, is of use to its own run only, and
// its standardisation is not folded.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "kvalign/core/safetensors.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// Where a run stands. Losses are doubles so that they survive JSON bit for bit.
struct TrainingProgress {
  int64_t step = 0;        ///< optimiser steps done, skipped ones included
  int64_t epoch = 0;       ///< 0-based epoch of the next batch
  int64_t next_batch = 0;  ///< of that epoch
  int64_t tokens = 0;      ///< trained on so far
  double best_loss = std::numeric_limits<double>::infinity();  ///< lowest validation loss
  int64_t best_step = -1;
  int64_t validations_without_improvement = 0;
  bool stopped_early = false;
  bool finished = false;

  bool operator==(const TrainingProgress&) const = default;
};

struct TrainingState {
  TrainingProgress progress;
  int64_t metrics_bytes = 0;         ///< length of metrics.jsonl at this point
  int64_t events_bytes = 0;          ///< length of the TensorBoard file at this point
  std::string recipe;                ///< YAML of what must not change between start and resume
  std::string dataset_sha256;        ///< of the data's index.json
  std::vector<NamedTensor> tensors;  ///< module, optimiser, task head and device counters, by name
};

/// Writes `state` to `path` atomically: a reader sees the old file or the new one, whole.
/// Throws std::runtime_error or c10::Error from the safetensors writer.
KVALIGN_API void save_training_state(const std::string& path, const TrainingState& state);

/// Reads it back; the tensors are on the CPU. Throws std::runtime_error where the file is no
/// training state of this version, and the safetensors reader's errors where it is damaged.
KVALIGN_API TrainingState load_training_state(const std::string& path);

}  // namespace kvalign
