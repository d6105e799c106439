// Questions about the scores of all rows and sequences, for ladder_statistics.cpp. Private to
// evaluate/.
//
// Shapes:  Q sequences
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "kvalign/evaluate/ladder_statistics.h"

namespace kvalign {

// What a difference of two rows counts: tokens where both predict the same ones, else bytes.
enum class Unit { kToken, kByte };

// Which predicted tokens of a sequence: StatisticsOptions::first_tokens, or all.
enum class TokenSpan { kFirst, kAll };

// Borrows all it is made of.
class ScoreTable {
 public:
  ScoreTable(const std::vector<LadderRowInfo>& rows, const std::vector<SequenceScores>& sequences,
             const StatisticsOptions& options)
      : rows_(rows), sequences_(sequences), options_(options) {}

  // Without the interval.
  LadderScores scores(size_t row, TokenSpan span) const;

  // Of each sequence's own tokens, [Q].
  at::Tensor token_nats_Q(size_t row, TokenSpan span) const;
  at::Tensor token_counts_Q(size_t row, TokenSpan span) const;

  // Of each sequence, [Q]: over all tokens, or over the common bytes.
  at::Tensor nats_Q(size_t row, Unit unit) const;
  at::Tensor counts_Q(size_t row, Unit unit) const;

  Unit unit_of(size_t row, size_t other) const;

  double mean(size_t row, const std::function<double(const RowScores&)>& value) const;

  // Mean nll of the first, second, ... of `count` tokens; NaN where a sequence has no such token.
  std::vector<double> nll_by_position(size_t row, size_t count) const;

  // Tokens that one row has right and the other has not.
  int64_t only_right(size_t row, size_t other) const;

  // Mean over tokens of |nll(row) - nll(other)|.
  double mean_absolute_difference(size_t row, size_t other) const;

 private:
  bool is_sender(size_t row) const { return continued_by_sender(rows_[row].role); }
  TokenRange range(const ByteWindow& window, size_t row) const {
    return is_sender(row) ? window.sender : window.receiver;
  }
  int64_t token_count(const RowScores& scores, TokenSpan span) const;

  const std::vector<LadderRowInfo>& rows_;
  const std::vector<SequenceScores>& sequences_;
  const StatisticsOptions& options_;
};

}  // namespace kvalign
