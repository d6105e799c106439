// Does a task head that was trained on true receiver caches say the same of projected ones? And how
// well do heads tell the labels? Private to evaluate/.
//
// Shapes:  Q sequences   C = streams * width   K classes   N resamples
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
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

// A row's projected caches of the test split, in the same order, and the head that came with it.
struct PooledRow {
  std::string name;
  bool is_checkpoint = false;
  at::Tensor pooled_QC;
  std::optional<TaskHead> own_head = {};
};

class TaskAgreement {
 public:
  // Trains the head. Errors: c10::Error as train_task_head.
  TaskAgreement(const PooledSplit& training, PooledSplit test, const TaskHeadOptions& options);

  const TaskHead& head() const { return head_; }

  // The gains are those over checkpoints without a head of their own and over the row itself, whose
  // projector may have been fine-tuned too.
  TaskSummary summary(const std::vector<PooledRow>& rows, const Bootstrap& bootstrap) const;

  TaskFigures figures(const PooledRow& row, const Bootstrap& bootstrap) const;

 private:
  ClassificationScores scores(const at::Tensor& classes_Q, const Bootstrap& bootstrap) const;

  TaskHead head_;
  PooledSplit test_;
  int64_t majority_class_ = 0;
  at::Tensor true_classes_Q_;  // what the head says of the true caches
};

}  // namespace kvalign
