// The anchor of LossTerm's virtual table.
#include "kvalign/loss/loss_term.h"

namespace kvalign {

LossTerm::~LossTerm() = default;

}  // namespace kvalign
