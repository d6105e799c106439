// One held-out sequence of a token file, cut into prefix and continuation for both models. Private
// to evaluate/.
//
// Shapes:  T tokens of a prefix that a cache covers (n - 1)
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "kvalign/dataset/token_file.h"
#include "kvalign/evaluate/byte_window.h"
#include "kvalign/evaluate/ladder_options.h"

namespace kvalign {

// Predicted tokens over which the first scores are taken: the receiver recovers by itself later.
constexpr int64_t kFirstTokens = 16;

// n tokens of prefix, m of continuation, as the receiver counts.
struct LadderText {
  int64_t number = 0;                       // in the token file
  int64_t document = 0;                     // in the token file
  at::Tensor receiver_tokens = {};          // int64 [n + m]
  std::vector<int64_t> receiver_ends = {};  // [n + m] bytes
  at::Tensor sender_tokens = {};            // int64: the same text, as far as both sides have it
  int64_t sender_prefix = 0;                // how many of them are the prefix; n with one tokenizer
  at::Tensor alignment_T = {};              // int32, as align_tokens; undefined with one tokenizer
  ByteWindow first = {}, all = {};          // predicted tokens of the same bytes

  // UTF-8 bytes of the receiver's tokens [begin, end).
  int64_t text_bytes(int64_t begin, int64_t end) const;
};

// A tensor of whole numbers as a list.
std::vector<int64_t> whole_numbers(const at::Tensor& values_T);

// None for a sequence with fewer than n + m tokens, or one of whose parts the sender has no token.
std::optional<LadderText> cut_text(const TokenFile& tokens, int64_t sequence,
                                   const LadderOptions& options);

}  // namespace kvalign
