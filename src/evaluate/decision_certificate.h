// Which decisions of a task head are proved to be the same after projection and rounding. Private
// to evaluate/.
//
// Shapes:  R streams   T tokens   D width   B sequences   C = R D
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kvalign/evaluate/certificate_report.h"
#include "kvalign/loss/task_head.h"
#include "row_certificate.h"

namespace kvalign {

// Whole sequences, one after the other.
struct LabelledTokens {
  at::Tensor target_RTD;           // float64, true
  std::vector<int64_t> offsets;    // [B + 1]
  std::vector<int64_t> labels;     // [B]; empty where there is no task
  std::vector<int64_t> documents;  // [B]
};

// `confidence` is that of each statistical limit. Sequences of one document are no independent
// trials: the limits count the first of each.
DecisionFigures certify_decisions(const TaskHead& head, const RowMoves& moves,
                                  const LabelledTokens& tokens, double confidence);

}  // namespace kvalign
