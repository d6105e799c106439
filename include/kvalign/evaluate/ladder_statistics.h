// From the scores of single sequences to a report's figures, intervals and verdict. Pure
// arithmetic: knows no model and no file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/evaluate/byte_window.h"
#include "kvalign/evaluate/ladder_report.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// What one row predicted of one sequence.
struct RowScores {
  std::vector<double> nll = {};    ///< nats, of each predicted token
  std::vector<int64_t> hits = {};  ///< 1 where the most probable token was right
  double kl = kUndefined;          ///< mean over the tokens
  double bytes = 0;                ///< sent for the whole prefix
};

/// One sequence: all rows in the order of the report's.
struct SequenceScores {
  int64_t sequence = 0;  ///< number in the token file
  int64_t document = 0;
  ByteWindow first = {}, all = {};  ///< where nats_per_byte are taken
  std::vector<RowScores> rows = {};
};

/// How a row stands in the comparison.
enum class RowRole {
  kText,
  kTrueCache,
  kProjected,
  kFloor,
  kSenderAlone,  ///< the sender after its own cache
  kToSender,     ///< the sender after the receiver's cache, compressed
  kSenderFloor,  ///< the sender after what carries nothing of this context
};

/// The others are continued by the receiver.
inline bool continued_by_sender(RowRole role) {
  return role == RowRole::kSenderAlone || role == RowRole::kToSender ||
         role == RowRole::kSenderFloor;
}

/// What is known of a row before it is run.
struct LadderRowInfo {
  std::string row = {}, text = {};
  RowRole role = RowRole::kProjected;
  int64_t sinks = 0, reread = 0;
  std::string wire = {};
};

struct StatisticsOptions {
  int64_t prefix_tokens = 0;
  int64_t first_tokens = 16;
  bool one_tokenizer = true;
  int64_t bootstrap_resamples = 2000;
  uint64_t seed = 1;
  size_t judged_row = 0;  ///< number of the row that the gate is about
  /// Mean over tokens of |nll(true cache) - nll(text)| above which the ceiling is not one.
  double max_ceiling_difference = 0.01;
};

/// Fills rows, floor, differences, documents, sequences, warnings and gate of `report`. Each row is
/// compared with the sender alone and with the best floor row of its own reread (of reread 0 where
/// it has none); rows to the sender have a floor of their own, and the sender alone for what
/// retention takes for 1. The gate: the judged row is better than both, with
/// intervals without 0, and the true cache's row is the text row. Throws c10::Error where there is
/// no sequence, the sequences disagree in their number of rows, or the rows lack one of text, true
/// cache, sender alone and floor.
KVALIGN_API void fill_statistics(const std::vector<LadderRowInfo>& rows,
                                 const std::vector<SequenceScores>& sequences,
                                 const StatisticsOptions& options, LadderReport& report);

/// McNemar's exact test: two-sided p of `first` and `second` discordant pairs under a fair coin,
/// min(1, 2 P(X <= min(first, second))) with X ~ Binomial(first + second, 1/2). 1 for no pair.
/// Throws c10::Error for a negative count.
KVALIGN_API double mcnemar_exact(int64_t first, int64_t second);

}  // namespace kvalign
