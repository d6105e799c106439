// How the training of a checkpoint went, from the metrics.jsonl that its run folder holds beside it
// (train/metrics_log.h).
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

/// After `step` steps; NaN where the log says nothing there, or says null.
struct TrainingPoint {
  int64_t step = 0;
  double loss = std::numeric_limits<double>::quiet_NaN();  ///< of that step's batch
  double validation_loss = std::numeric_limits<double>::quiet_NaN();
};

struct TrainingCurve {
  std::string row = {};  ///< of the report
  std::vector<TrainingPoint> points = {};
};

/// The points of a metrics.jsonl, by rising step: its `train_step` and `validation` events. Of more
/// than 200 training losses so many are kept, evenly and with both ends, and 100 of the validation
/// losses. A last line without its line break is still being written and left out. Throws
/// std::runtime_error naming file and line where a line is no JSON object with an `event`, or one
/// of those two lacks a whole `step` or a `loss`.
KVALIGN_API std::vector<TrainingPoint> read_training_points(const std::string& path);

}  // namespace kvalign
