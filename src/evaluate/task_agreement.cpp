// Accuracy and agreement of the task head. See task_agreement.h.
#include "task_agreement.h"

#include <ATen/ATen.h>

namespace kvalign {
namespace {

// Mean over sequences of `values_Q`, for the data and each resample.
at::Tensor means(const at::Tensor& values_Q, const Bootstrap& bootstrap) {
  return bootstrap.sums(values_Q) / bootstrap.sums(at::ones_like(values_Q));
}

}  // namespace

TaskAgreement::TaskAgreement(const PooledSplit& training, PooledSplit test,
                             const TaskHeadOptions& options)
    : test_(std::move(test)) {
  head_ = train_task_head({training.pooled_QC, training.labels_Q},
                          {test_.pooled_QC, test_.labels_Q}, options)
              .head;
  majority_class_ = training.labels_Q.bincount().argmax().item<int64_t>();
  true_classes_Q_ = head_.logits_of_pooled(test_.pooled_QC).argmax(1);
}

at::Tensor TaskAgreement::is_right(const at::Tensor& classes_Q) const {
  return (classes_Q == test_.labels_Q).to(at::kDouble);
}

TaskSummary TaskAgreement::summary(const Bootstrap& bootstrap) const {
  const at::Tensor majority_Q = at::full_like(test_.labels_Q, majority_class_);
  return {.num_classes = head_.bias_K.size(0),
          .true_cache = bootstrap.interval(means(is_right(true_classes_Q_), bootstrap)),
          .majority_class = bootstrap.interval(means(is_right(majority_Q), bootstrap))};
}

TaskFigures TaskAgreement::figures(const at::Tensor& projected_QC,
                                   const Bootstrap& bootstrap) const {
  const at::Tensor classes_Q = head_.logits_of_pooled(projected_QC).argmax(1);
  const at::Tensor right_Q = is_right(classes_Q);
  const at::Tensor differs_Q = (classes_Q != true_classes_Q_).to(at::kDouble);
  return {.accuracy = bootstrap.interval(means(right_Q, bootstrap)),
          .accuracy_difference =
              bootstrap.interval(means(right_Q - is_right(true_classes_Q_), bootstrap)),
          .disagreement = bootstrap.interval(means(differs_Q, bootstrap))};
}

}  // namespace kvalign
