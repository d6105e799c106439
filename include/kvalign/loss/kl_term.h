// What the receiver says: KL(after its own cache || after the projected one) of its next-token
// distributions, mean over the predicted tokens of each sequence and over the sequences; nats.
// Gradients reach the projected cache through the whole frozen receiver.
#pragma once

#include <memory>

#include "kvalign/loss/loss_term.h"
#include "kvalign/loss/receiver_reading.h"

namespace kvalign {

class KVALIGN_API KlTerm : public LossTerm {
 public:
  explicit KlTerm(std::shared_ptr<const ReceiverReading> reading);
  std::string name() const override;
  at::Tensor compute(const LossInput& input) const override;

 private:
  std::shared_ptr<const ReceiverReading> reading_;
};

}  // namespace kvalign
