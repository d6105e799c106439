// The sums that a closed-form fit is made from: read from fit.statistics where they are there, else
// made from the data and kept, so that a refit reads no data. Private to train/.
#pragma once

#include <memory>
#include <optional>

#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/dataset/split.h"
#include "kvalign/projector/ridge_statistics.h"
#include "kvalign/train/distiller.h"

namespace kvalign {

/// Thrown where control.stop_requested says so; sums that are not complete are not kept.
struct FitStopped {};

struct ClosedFormSums {
  RidgeStatistics training;                   ///< with those of fit.merge
  std::optional<RidgeStatistics> validation;  ///< none without a validation split
};

/// Of the recipe's layer map or, where fit.top_k will choose from them, of all layers' keys and
/// values. Throws std::runtime_error for files that hold sums of other data than the recipe's, and
/// FitStopped.
ClosedFormSums closed_form_sums(const Recipe& recipe, const DistillControl& control,
                                std::shared_ptr<const PairedDataset> dataset, const Split& split);

}  // namespace kvalign
