// The tokens whose projection is farthest off, over all streams and held-out sequences: where to
// look first. Keeps the k worst and nothing else.
//
// Shapes:  R streams   T tokens packed   B sequences
#pragma once

#include <cstdint>
#include <vector>

#include "kvalign/evaluate/reconstruction.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct WorstToken {
  int64_t sequence = 0;       ///< number in the dataset
  int64_t token = 0;          ///< position in that sequence, counted from its first token
  int64_t stream = 0;         ///< number of the receiver stream
  double error = 0;           ///< |y - p|
  double relative_error = 0;  ///< |y - p| / |y|
};

/// Ranked by relative error, so that streams of different size compare; ties by (sequence, token,
/// stream). A true vector of norm 0 is left out: its relative error is undefined.
class KVALIGN_API WorstTokens {
 public:
  /// Throws c10::Error for a negative `count`; 0 keeps nothing.
  explicit WorstTokens(int64_t count);

  /// `sequences` are the batch's [B] numbers in the dataset; `first_token` is the position of each
  /// sequence's first token here (the sinks that were left out).
  void add(const TokenErrors& errors, const at::Tensor& sequence_offsets,
           const std::vector<int64_t>& sequences, int64_t first_token);

  /// Worst first.
  const std::vector<WorstToken>& tokens() const { return tokens_; }

 private:
  int64_t count_;
  std::vector<WorstToken> tokens_;
};

}  // namespace kvalign
