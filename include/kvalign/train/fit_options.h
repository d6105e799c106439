// How a projector gets its weights: by gradient descent, or in closed form from sums over the data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct KVALIGN_API FitOptions {
  std::string kind = "adamw";
  std::string start;               ///< adamw: path of a checkpoint
  std::string statistics;          ///< folder; empty: statistics/ in the run folder
  std::vector<std::string> merge;  ///< further files of training sums
  int64_t top_k = 0;
  double lambda = 0;
  double feature_noise = 0;
  std::string metric = "variance";
  std::string receiver;  ///< metric attention: Hugging Face folder
  int64_t metric_sequences = 16;

  void describe(OptionVisitor& visitor);
};

}  // namespace kvalign
