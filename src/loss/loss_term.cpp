// The anchor of LossTerm's virtual table, and what several terms read.
#include "kvalign/loss/loss_term.h"

namespace kvalign {

LossTerm::~LossTerm() = default;

RowProducts products_of(const LossInput& input) {
  return input.products ? *input.products : row_products(input.predicted_RTD, input.target_RTD);
}

}  // namespace kvalign
