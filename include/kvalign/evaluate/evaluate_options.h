// What `kvalign eval` is asked for; data, split and device come from the recipe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct KVALIGN_API EvaluateOptions {
  /// Paths, or `name=path` to name the row; otherwise a row is named by the checkpoint's folder.
  std::vector<std::string> checkpoints;
  std::vector<std::string> baselines = {"mean", "truncate", "pad", "interpolate", "random"};
  std::string output;  ///< folder of report.json, .md and .html; empty: they are not written
  int64_t bootstrap_resamples = 2000;
  int64_t worst_tokens = 10;
  int64_t batch_tokens = 2048;
  int64_t seed = 1;  ///< of the bootstrap and the random projector

  /// The fields of a recipe's `evaluate` section.
  void describe(OptionVisitor& visitor);
};

}  // namespace kvalign
