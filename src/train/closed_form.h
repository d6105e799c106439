// A fit in closed form from a recipe: sums over the training and the validation split (kept as
// files, so that a refit reads no data), then the solution. Private to train/.
#pragma once

#include "kvalign/train/distiller.h"

namespace kvalign {

/// Writes statistics/{training,validation}.safetensors (fit.statistics), config.yaml, metrics.jsonl
/// and checkpoint.safetensors. Runs on the CPU. Throws as distill, and std::runtime_error for sums
/// of other data than the recipe's.
DistillResult fit_in_closed_form(const Recipe& recipe, const DistillControl& control);

}  // namespace kvalign
