// What a downstream task sees: cross-entropy between the task head's answer on the projected cache
// and its answer on the true receiver cache. Labels are not used; the head is frozen.
#pragma once

#include "kvalign/loss/loss_term.h"
#include "kvalign/loss/task_head.h"

namespace kvalign {

enum class TaskTarget {
  kHard,  // the class with the highest score on the true cache
  kSoft,  // the softmax of the scores on the true cache
};

class KVALIGN_API TaskTerm : public LossTerm {
 public:
  TaskTerm(TaskHead head, TaskTarget target);
  std::string name() const override;
  at::Tensor compute(const LossInput& input) const override;

 private:
  TaskHead head_;
  TaskTarget target_;
};

}  // namespace kvalign
