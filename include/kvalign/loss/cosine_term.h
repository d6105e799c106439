// Direction: 1 - mean over streams and tokens of cos(predicted, target), each a vector of width D;
// 1 - F.cosine_similarity(predicted, target, dim=-1).mean(), norms not below 1e-8 as there.
#pragma once

#include "kvalign/loss/loss_term.h"

namespace kvalign {

class KVALIGN_API CosineTerm : public LossTerm {
 public:
  std::string name() const override;
  at::Tensor compute(const LossInput& input) const override;
  bool reads_products() const override { return true; }
};

}  // namespace kvalign
