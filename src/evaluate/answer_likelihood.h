// How likely a model finds each answer to a question. Private to evaluate/; exported for its test.
//
// Shapes:  V vocabulary   A tokens of an answer
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "continuation.h"
#include "kvalign/format/export.h"
#include "kvalign/model/decoder.h"

namespace kvalign {

// What a decoder knows after the question.
struct QuestionRead {
  KvCache cache;        // of one sequence: all that was read
  at::Tensor logits_V;  // of the last token
};

// The tokens of each run (the question, or all before it too) after its cache. Runs of equal shape
// share a pass, which costs as much as one of them: reading the weights takes longer than a few
// tokens do. `use` is told each run's row.
KVALIGN_API void read_questions(
    const Decoder& decoder, const std::vector<CachedRun>& runs,
    const std::function<void(size_t row, const QuestionRead& read)>& use);

// Log-likelihood in nats of each answer (int64 [A], at least one token) after what has been read.
KVALIGN_API std::vector<double> answer_log_likelihoods(const Decoder& decoder,
                                                       const QuestionRead& read,
                                                       const std::vector<at::Tensor>& answers);

}  // namespace kvalign
