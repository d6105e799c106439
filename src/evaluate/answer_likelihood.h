// How likely a model finds each answer to a question. Private to evaluate/.
//
// Shapes:  R streams   C cached tokens   D width   Q question tokens   A tokens of an answer
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kvalign/model/decoder.h"

namespace kvalign {

// What the decoder makes of `tokens_Q` (int64) after a cache, which may be undefined: the cache of
// all, and the logits of the last.
DecoderOutput read_question(const Decoder& decoder, const at::Tensor& streams_RCD,
                            const at::Tensor& tokens_Q);

// Log-likelihood in nats of each answer (int64 [A], at least one token) after what has been read.
std::vector<double> answer_log_likelihoods(const Decoder& decoder, const DecoderOutput& read,
                                           const std::vector<at::Tensor>& answers);

}  // namespace kvalign
