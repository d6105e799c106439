// Cross-entropy against labels. See label_term.h.
#include "kvalign/loss/label_term.h"

#include <ATen/ATen.h>

#include <utility>

namespace kvalign {

LabelTerm::LabelTerm(StandardisedTaskHead head) : head_(std::move(head)) {}

std::string LabelTerm::name() const {
  return "label";
}

at::Tensor LabelTerm::compute(const LossInput& input) const {
  TORCH_CHECK(input.labels_B.defined(),
              "LabelTerm: expected a label for each sequence, got none. Does the dataset have "
              "labels?");
  return at::cross_entropy_loss(head_.folded().logits(input.predicted_RTD, input.sequence_offsets),
                                input.labels_B);
}

}  // namespace kvalign
