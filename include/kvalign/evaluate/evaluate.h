// Held-out evaluation of projectors: each checkpoint and the baselines beside it, on the sequences
// of the test split that no fit has seen. One pass over the data serves all rows. Nothing is
// trained here but the task head of datasets with labels, and nothing is written (write_report in
// report.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kvalign/evaluate/evaluate_options.h"
#include "kvalign/evaluate/report.h"
#include "kvalign/format/export.h"
#include "kvalign/train/recipe.h"

namespace kvalign {

/// Told after each batch: `what` names the pass, e.g. "training split", "test split".
using EvaluateProgress =
    std::function<void(const std::string& what, int64_t batches_done, int64_t batches)>;

/// Evaluates on the recipe's dataset, split and device. Sinks (the recipe's skip_first_tokens) are
/// left out of every figure.
/// Throws std::invalid_argument for options out of range, no rows at all or an empty test split,
/// and std::runtime_error where a checkpoint was trained on other data or another split (its
/// training may have seen the sequences held out here), or for models of another geometry.
KVALIGN_API Report evaluate(const Recipe& recipe, const EvaluateOptions& options,
                            const EvaluateProgress& progress = nullptr);

}  // namespace kvalign
