// A fit in closed form from a recipe: sums over the training and the validation split
// (closed_form_sums.h), then the solution. Private to train/.
#pragma once

#include <memory>
#include <vector>

#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/dataset/split.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/distiller.h"

namespace kvalign {

struct ClosedFormReport {
  std::vector<double> lambda_R = {};       ///< penalty of each stream
  std::vector<double> unexplained_R = {};  ///< share of the validation variance; empty without one
  double mean_unexplained = 0;             ///< infinite without one
};

/// Gives `projector` its weights, of residual_mlp the linear part's; of raw features and outputs,
/// on the CPU. Writes training.safetensors and validation.safetensors into fit.statistics where
/// they are missing. Throws as distill and closed_form_sums.
ClosedFormReport solve_in_closed_form(const Recipe& recipe, const DistillControl& control,
                                      std::shared_ptr<const PairedDataset> dataset,
                                      const Split& split, KvProjector& projector);

/// A whole run with fit.kind ridge: config.yaml (with the layers that fit.top_k chose),
/// metrics.jsonl and checkpoint.safetensors.
DistillResult fit_in_closed_form(Recipe recipe, const DistillControl& control);

}  // namespace kvalign
