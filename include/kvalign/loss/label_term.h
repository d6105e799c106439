// What fine-tuning minimises: cross-entropy between the task head's answer on the projected cache
// and the sequence's label. Gradients flow into the cache, and into the head where it is trained.
#pragma once

#include "kvalign/loss/loss_term.h"
#include "kvalign/loss/task_head.h"

namespace kvalign {

class KVALIGN_API LabelTerm : public LossTerm {
 public:
  // Shares the head's tensors, on the device of the batches.
  explicit LabelTerm(StandardisedTaskHead head);
  std::string name() const override;
  // Errors: c10::Error for an input without labels.
  at::Tensor compute(const LossInput& input) const override;

 private:
  StandardisedTaskHead head_;
};

}  // namespace kvalign
