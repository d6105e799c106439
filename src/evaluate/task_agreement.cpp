// Scores and agreement of task heads. See task_agreement.h.
#include "task_agreement.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace kvalign {
namespace {

at::Tensor classes_said(const TaskHead& head, const at::Tensor& pooled_QC) {
  return head.logits_of_pooled(pooled_QC).argmax(1);
}

}  // namespace

TaskAgreement::TaskAgreement(const PooledSplit& training, PooledSplit test,
                             const TaskHeadOptions& options)
    : test_(std::move(test)) {
  head_ = train_task_head({training.pooled_QC, training.labels_Q},
                          {test_.pooled_QC, test_.labels_Q}, options)
              .head;
  majority_class_ = training.labels_Q.bincount().argmax().item<int64_t>();
  true_classes_Q_ = classes_said(head_, test_.pooled_QC);
}

ClassificationScores TaskAgreement::scores(const at::Tensor& classes_Q,
                                           const Bootstrap& bootstrap) const {
  // A head may know classes that the test split lacks, and the other way about.
  const int64_t largest =
      std::max(classes_Q.max().item<int64_t>(), test_.labels_Q.max().item<int64_t>());
  return classification_scores(test_.labels_Q, classes_Q, largest + 1, bootstrap);
}

TaskSummary TaskAgreement::summary(const std::vector<PooledRow>& rows,
                                   const Bootstrap& bootstrap) const {
  const at::Tensor majority_Q = at::full_like(test_.labels_Q, majority_class_);
  TaskSummary summary{.num_classes = head_.bias_K.size(0),
                      .true_cache = intervals(scores(true_classes_Q_, bootstrap), bootstrap),
                      .majority_class = intervals(scores(majority_Q, bootstrap), bootstrap)};
  for (const PooledRow& row : rows) {
    if (!row.own_head) continue;
    const ClassificationScores after =
        scores(classes_said(*row.own_head, row.pooled_QC), bootstrap);
    for (const PooledRow& against : rows) {
      const bool is_before =
          against.name == row.name || (against.is_checkpoint && !against.own_head);
      if (!is_before) continue;
      const ClassificationScores before = scores(classes_said(head_, against.pooled_QC), bootstrap);
      summary.gains.push_back({row.name, against.name, intervals(after - before, bootstrap)});
    }
  }
  return summary;
}

TaskFigures TaskAgreement::figures(const PooledRow& row, const Bootstrap& bootstrap) const {
  const at::Tensor classes_Q = classes_said(head_, row.pooled_QC);
  const at::Tensor differs_Q = (classes_Q != true_classes_Q_).to(at::kDouble);
  const ClassificationScores projected = scores(classes_Q, bootstrap);
  const ClassificationScores difference = projected - scores(true_classes_Q_, bootstrap);
  TaskFigures figures{.scores = intervals(projected, bootstrap),
                      .accuracy_difference = bootstrap.interval(difference.accuracy),
                      .disagreement = bootstrap.interval(bootstrap.sums(differs_Q) /
                                                         bootstrap.sums(at::ones_like(differs_Q)))};
  if (row.own_head) {
    const auto of = [&](const at::Tensor& pooled_QC) {
      return intervals(scores(classes_said(*row.own_head, pooled_QC), bootstrap), bootstrap);
    };
    figures.own_head = OwnHeadFigures{of(row.pooled_QC), of(test_.pooled_QC)};
  }
  return figures;
}

}  // namespace kvalign
