// Mean squared error over all streams, tokens and elements: F.mse_loss(predicted, target).
#pragma once

#include "kvalign/loss/loss_term.h"

namespace kvalign {

class KVALIGN_API MseTerm : public LossTerm {
 public:
  std::string name() const override;
  at::Tensor compute(const LossInput& input) const override;
  bool reads_products() const override { return true; }
};

}  // namespace kvalign
