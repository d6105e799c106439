// Counts of each class in each resample, and figures of the counts. See classification.h.
#include "kvalign/evaluate/classification.h"

#include <ATen/ATen.h>

namespace kvalign {
namespace {

void check_classes(const char* what, const at::Tensor& classes_Q, int64_t num_sequences,
                   int64_t num_classes) {
  TORCH_CHECK(
      classes_Q.scalar_type() == at::kLong && classes_Q.sizes() == at::IntArrayRef({num_sequences}),
      "classification_scores: expected ", what, " int64 [", num_sequences, "], got ",
      classes_Q.scalar_type(), " ", classes_Q.sizes(), ".");
  const auto low = classes_Q.min().item<int64_t>(), high = classes_Q.max().item<int64_t>();
  TORCH_CHECK(low >= 0 && high < num_classes, "classification_scores: expected ", what,
              " from 0 to ", num_classes - 1, ", got ", low < 0 ? low : high, ".");
}

// Mean over the classes of `figures_NK`, without those whose `count_NK` is 0.
at::Tensor mean_over_classes(const at::Tensor& figures_NK, const at::Tensor& count_NK) {
  const at::Tensor counts_NK = count_NK.gt(0);
  return figures_NK.masked_fill(counts_NK.logical_not(), 0).sum(1) / counts_NK.sum(1);
}

}  // namespace

ClassificationScores classification_scores(const at::Tensor& labels_Q,
                                           const at::Tensor& predicted_Q, int64_t num_classes,
                                           const Bootstrap& bootstrap) {
  const int64_t num_sequences = bootstrap.weights().size(1);
  check_classes("labels", labels_Q, num_sequences, num_classes);
  check_classes("answers", predicted_Q, num_sequences, num_classes);
  const at::Tensor label_QK = at::one_hot(labels_Q, num_classes).to(at::kDouble);
  const at::Tensor answer_QK = at::one_hot(predicted_Q, num_classes).to(at::kDouble);
  const at::Tensor occurs_NK = bootstrap.sums(label_QK);
  const at::Tensor hits_NK = bootstrap.sums(label_QK * answer_QK);
  const at::Tensor occurs_or_said_NK = occurs_NK + bootstrap.sums(answer_QK);
  return {.accuracy = hits_NK.sum(1) / occurs_NK.sum(1),
          .balanced_accuracy = mean_over_classes(hits_NK / occurs_NK, occurs_NK),
          .macro_f1 = mean_over_classes(2 * hits_NK / occurs_or_said_NK, occurs_or_said_NK)};
}

ClassificationScores operator-(const ClassificationScores& left,
                               const ClassificationScores& right) {
  return {.accuracy = left.accuracy - right.accuracy,
          .balanced_accuracy = left.balanced_accuracy - right.balanced_accuracy,
          .macro_f1 = left.macro_f1 - right.macro_f1};
}

ClassificationIntervals intervals(const ClassificationScores& scores, const Bootstrap& bootstrap) {
  return {.accuracy = bootstrap.interval(scores.accuracy),
          .balanced_accuracy = bootstrap.interval(scores.balanced_accuracy),
          .macro_f1 = bootstrap.interval(scores.macro_f1)};
}

}  // namespace kvalign
