// The true cache's answer is a constant: no gradient flows into it or into the head.
#include "kvalign/loss/task_term.h"

#include <ATen/ATen.h>

#include <utility>

namespace kvalign {

TaskTerm::TaskTerm(TaskHead head, TaskTarget target) : head_(std::move(head)), target_(target) {}

std::string TaskTerm::name() const {
  return "task";
}

at::Tensor TaskTerm::compute(const LossInput& input) const {
  at::Tensor answer;  // classes [B], or probabilities [B, K]
  {
    const at::NoGradGuard no_gradients;
    const at::Tensor logits_BK = head_.logits(input.target_RTD, input.sequence_offsets);
    answer = target_ == TaskTarget::kHard ? logits_BK.argmax(1) : logits_BK.softmax(1);
  }
  return at::cross_entropy_loss(head_.logits(input.predicted_RTD, input.sequence_offsets), answer);
}

}  // namespace kvalign
