// The formula of the note this project began with, printed beside our bounds, labelled as what it
// is.
#pragma once

#include <cstdint>
#include <string_view>

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct SeedFormulaInputs {
  double projection_error = 0.1;  // "well-trained"
  double lipschitz = 2.0;         // "empirical"
  int64_t sender_width = 512;
  double step = 0.125;  // 2^-3, what the note takes as FP8's error
};

/// projection_error + lipschitz * sqrt(sender_width) * step of one token: 5.76 for the note's own
/// numbers, where it prints 6.76. Neither kind of number: it has a type of its own.
struct SeedFormula {
  double value = 0;
  std::string_view why_no_bound;
};
KVALIGN_API SeedFormula seed_formula(const SeedFormulaInputs& inputs);

}  // namespace kvalign
