// Does a task head that was trained on true receiver caches say the same of projected ones? Private
// to evaluate/.
//
// Shapes:  Q sequences   C = streams * width   K classes
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kvalign/evaluate/bootstrap.h"
#include "kvalign/evaluate/report.h"
#include "kvalign/loss/task_head.h"

namespace kvalign {

// True caches of one split: mean_pool [Q, C] float32 and their labels [Q] int64.
struct PooledSplit {
  at::Tensor pooled_QC;
  at::Tensor labels_Q;
};

class TaskAgreement {
 public:
  // Trains the head. Errors: c10::Error as train_task_head.
  TaskAgreement(const PooledSplit& training, PooledSplit test, const TaskHeadOptions& options);

  const TaskHead& head() const { return head_; }

  TaskSummary summary(const Bootstrap& bootstrap) const;

  // Of one row's projected caches of the test split, pooled in the same order.
  TaskFigures figures(const at::Tensor& projected_QC, const Bootstrap& bootstrap) const;

 private:
  at::Tensor is_right(const at::Tensor& classes_Q) const;

  TaskHead head_;
  PooledSplit test_;
  int64_t majority_class_ = 0;
  at::Tensor true_classes_Q_;  // what the head says of the true caches
};

}  // namespace kvalign
