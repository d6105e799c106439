// Learning rate as a pure function of the step, so that a resumed run needs no state for it.
#pragma once

#include <cstdint>
#include <string>

#include "kvalign/format/export.h"

namespace kvalign {

/// How the learning rate moves over a run.
struct Schedule {
  std::string kind = "constant";  ///< "constant" or "cosine"
  double learning_rate = 1e-4;    ///< the highest value, reached after the warm-up
  int64_t warmup_steps = 0;       ///< linear rise from learning_rate / warmup_steps
  int64_t total_steps = 1;        ///< where cosine reaches 0; constant ignores it
};

/// Learning rate of `step` (0-based). Warm-up: (step + 1) / warmup_steps of the highest value; then
/// constant, or 0.5 (1 + cos(pi p)) of it with p the part done of the steps after the warm-up
/// (Loshchilov and Hutter, SGDR, arXiv:1608.03983, one cycle).
/// Throws std::invalid_argument for an unknown kind.
KVALIGN_API double learning_rate_at(const Schedule& schedule, int64_t step);

}  // namespace kvalign
