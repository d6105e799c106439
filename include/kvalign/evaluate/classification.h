// How well classes are told, where some are rarer than others: a classifier that always says the
// commonest one looks good by accuracy, and no better than chance by the other two figures.
//
// Shapes:  Q sequences   K classes   N resamples
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kvalign/evaluate/bootstrap.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// Three figures of one kind of number: the figures themselves, their differences, or intervals.
template <class Figure>
struct ClassificationFigures {
  Figure accuracy = {};           ///< share of sequences that are given their label
  Figure balanced_accuracy = {};  ///< mean over the classes that occur of the share that is found
  Figure macro_f1 = {};           ///< mean over the classes that occur or are said of their F1
};

/// For the data and each resample: [1 + N] float64.
using ClassificationScores = ClassificationFigures<at::Tensor>;
using ClassificationIntervals = ClassificationFigures<Interval>;

/// The figures of the answers `predicted_Q` to `labels_Q` (both int64 [Q], in [0, num_classes)), as
/// scikit-learn's accuracy_score, balanced_accuracy_score and f1_score(average="macro") give them
/// for each resample by itself. F1 of a class is 2 hits / (how often it occurs + how often it is
/// said). Throws c10::Error for another shape, type or class.
KVALIGN_API ClassificationScores classification_scores(const at::Tensor& labels_Q,
                                                       const at::Tensor& predicted_Q,
                                                       int64_t num_classes,
                                                       const Bootstrap& bootstrap);

/// Figure by figure; paired where both come from one bootstrap.
KVALIGN_API ClassificationScores operator-(const ClassificationScores& left,
                                           const ClassificationScores& right);

/// Bootstrap::interval of each figure.
KVALIGN_API ClassificationIntervals intervals(const ClassificationScores& scores,
                                              const Bootstrap& bootstrap);

}  // namespace kvalign
