// What the receiver's layers read: the squared error of each layer's attention output under the
// receiver's own queries, relative to that output's square, mean over layers and sequences. Each
// layer is asked by itself, with the queries and the new tokens' keys and values that it has after
// its own cache; so one forward pass a sequence and no backward pass through the model.
#pragma once

#include <memory>

#include "kvalign/loss/loss_term.h"
#include "kvalign/loss/receiver_reading.h"

namespace kvalign {

class KVALIGN_API AttentionTerm : public LossTerm {
 public:
  explicit AttentionTerm(std::shared_ptr<const ReceiverReading> reading);
  std::string name() const override;
  at::Tensor compute(const LossInput& input) const override;

 private:
  // Over the sequences of the example.
  at::Tensor compute_sum(const ReceiverExample& example) const;

  std::shared_ptr<const ReceiverReading> reading_;
};

}  // namespace kvalign
