// The note's formula. See seed_formula.h.
#include "kvalign/bounds/seed_formula.h"

#include <cmath>

namespace kvalign {

SeedFormula seed_formula(const SeedFormulaInputs& inputs) {
  const double quantisation = std::sqrt(static_cast<double>(inputs.sender_width)) * inputs.step;
  return {
      .value = inputs.projection_error + inputs.lipschitz * quantisation,
      .why_no_bound =
          "no bound: a mean error and a sampled slope of a map that LayerNorm makes non-linear, "
          "for one token, with an error of FP8 that holds only for magnitudes up to 4"};
}

}  // namespace kvalign
