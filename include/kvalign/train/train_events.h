// What a run tells whoever watches it. The library prints nothing: a tool draws the bar from these.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

/// Sent once, before the first step.
struct TrainStart {
  int64_t num_parameters = 0;
  int64_t train_sequences = 0, train_tokens = 0;  ///< tokens that are trained on, sinks left out
  int64_t validation_sequences = 0;
  int64_t steps_per_epoch = 0;    ///< of the first epoch; the others may differ by a few
  int64_t total_steps = 0;        ///< over all epochs
  int64_t resumed_from_step = 0;  ///< 0 in a new run
  double task_head_accuracy =
      -1;  ///< on the true receiver caches of validation; -1 without a task term
};

/// Sent every log_every_steps steps, with values of that one step.
struct TrainStep {
  int64_t step = 0;  ///< 1-based: steps done
  int64_t epoch = 0;
  int64_t total_steps = 0;
  double loss = 0;
  std::vector<std::pair<std::string, double>> terms;  ///< unweighted, by the name of the term
  double grad_norm = 0;                               ///< before clipping
  double learning_rate = 0;
  int64_t tokens = 0;         ///< trained on so far
  int64_t skipped_steps = 0;  ///< not finite, so far
  double tokens_per_s = 0;    ///< since the previous event
  double eta_s = 0;           ///< at the mean speed since the start of this process
};

struct Validation {
  int64_t step = 0;
  int64_t epoch = 0;
  double loss = 0;  ///< means over the batches of the validation split, weighted by their tokens
  std::vector<std::pair<std::string, double>> terms;
  bool improved = false;
};

/// Overridden where needed; the default ignores everything.
class KVALIGN_API TrainObserver {
 public:
  virtual ~TrainObserver();
  virtual void on_start(const TrainStart& start) {}
  virtual void on_step(const TrainStep& step) {}
  virtual void on_validation(const Validation& validation) {}
  /// `what` is "checkpoint" or "training_state".
  virtual void on_save(const std::string& what, const std::string& path) {}
  /// Of what a closed-form fit does: "training sums", "weights"; `total` 0: unknown.
  virtual void on_progress(const std::string& what, int64_t done, int64_t total) {}
  /// Something that was asked for is not done as asked, and why.
  virtual void on_warning(const std::string& text) {}
};

}  // namespace kvalign
