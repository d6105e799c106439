// One optimisation step: forward, loss, backward, update. Knows nothing of epochs, files or events.
// Nothing here waits for the device: losses, norms and counters stay there until somebody reads
// them.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "kvalign/core/safetensors.h"
#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/format/export.h"
#include "kvalign/loss/multi_task_loss.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/adamw.h"
#include "kvalign/train/round_trip_loss.h"
#include "kvalign/train/train_options.h"

namespace kvalign {

/// Steps whose gradients were not finite, and were skipped.
struct SkippedSteps {
  int64_t total = 0;
  int64_t longest_row = 0;  ///< most of them one after the other
};

struct StepOutcome {
  LossValue loss;        ///< before the update; detached scalars on the device
  at::Tensor grad_norm;  ///< float32 [] on the device, before clipping
};

class KVALIGN_API ProjectorTrainer {
 public:
  /// `projector` and the losses are borrowed; the first two must be on `device`. Trains those
  /// parameters of the projector that require gradients and, beside them, `head`: leaves that the
  /// loss reads. Nothing else is ever given to the optimiser. `round_trip` trains what reads the
  /// receiver's cache; a projector with such a part needs it. Throws c10::Error where there is
  /// nothing to train, and for options.ranks that the projector does not have.
  ProjectorTrainer(KvProjector& projector, const MultiTaskLoss& loss, const TrainOptions& options,
                   c10::Device device, const NamedParameters& head = {},
                   const RoundTripLoss* round_trip = nullptr);

  /// Trains on one batch of CPU tensors; step `number` of the run decides what is drawn or taken in
  /// turn. A step with gradients that are not finite changes nothing but the counters.
  StepOutcome step(const PairedBatch& batch, double learning_rate, int64_t number);

  /// Loss of one batch in float32, without gradients.
  LossValue evaluate(const PairedBatch& batch) const;

  /// Waits for the device.
  SkippedSteps skipped_steps() const;

  /// `module.<name>`, `optimiser.<name>` and `skipped_steps`: shared, on the device.
  std::vector<NamedTensor> state() const;

  /// Copies what state() gave out. Throws c10::Error naming a missing tensor or a wrong shape.
  void load_state(const std::vector<NamedTensor>& tensors);

 private:
  LossValue loss_of(const PairedBatch& batch, bool autocast, std::optional<int64_t> step) const;

  KvProjector& projector_;
  const MultiTaskLoss& loss_;
  const RoundTripLoss* round_trip_;
  TrainOptions options_;
  c10::Device device_;
  AdamW optimiser_;
  at::Tensor skipped_steps_;  ///< float64 [3]: in total, in the present row, in the longest row
};

}  // namespace kvalign
