// What the ladder found: how well the receiver predicts a text after each kind of cache. Holds
// results only; ladder.h computes them.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvalign/evaluate/bootstrap.h"
#include "kvalign/evaluate/identity_gate.h"
#include "kvalign/format/export.h"

namespace kvalign {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

/// Over the first predicted tokens or over all of them. The first three count the model's own
/// tokens; nats_per_byte covers the same bytes in every row.
struct LadderScores {
  double nll = kUndefined;  ///< nats a token
  /// Its 95 % interval, bootstrap over documents; NaN of fewer than two.
  double nll_low = kUndefined, nll_high = kUndefined;
  double ppl = kUndefined;  ///< exp(nll)
  double top1 = kUndefined;
  double nats_per_byte = kUndefined;
};

/// Of one sequence, at a batch of one. NaN where a row has no such step.
struct LadderMilliseconds {
  double prefill = kUndefined;  ///< what the receiver reads before the last token of the prefix
  double project = kUndefined;
  double continuation = kUndefined;  ///< all predicted tokens, in one pass
};

/// What the machine drew in the same steps; NaN also where nothing is measured.
struct LadderJoules {
  double prefill = kUndefined;
  double project = kUndefined;
  double continuation = kUndefined;
};

struct LadderRow {
  std::string row = {};                 ///< unique
  std::string text = {};                ///< what it is
  int64_t sinks = 0;                    ///< first tokens that the receiver computed itself
  int64_t reread = 0;                   ///< last tokens that it computed itself
  std::string wire = {};                ///< type in which a cache was sent; empty where none was
  double bytes_per_token = kUndefined;  ///< that cross the network, a token of the prefix
  int64_t sequences = 0;
  LadderScores first = {};  ///< over the first 16 predicted tokens
  LadderScores all = {};
  /// Mean nll of the first, second, ... predicted token, as many as the true cache's row has; NaN
  /// where a sequence has none there. The sender's own tokens where it has a tokenizer of its own.
  std::vector<double> nll_by_position = {};
  /// (floor - x) / (floor - true cache) of the nll: 1 is the true cache, 0 the floor: the best of
  /// the rows that carry nothing of this context. Of rows to the sender: 1 is the sender alone, 0
  /// the best of what carries nothing of this context to it.
  double retention = kUndefined;
  double retention_first = kUndefined;  ///< over the first 16, with the best floor of those
  double kl = kUndefined;  ///< nats a token, true cache || row; NaN where vocabularies differ
  LadderMilliseconds milliseconds = {};
  LadderJoules joules = {};
};

/// nll(row) - nll(against), paired over the sequences; negative: `row` is better.
struct LadderDifference {
  std::string row = {}, against = {};
  Interval nll = {};      ///< bootstrap over documents
  std::string unit = {};  ///< "nats a token", or "nats a byte" where tokens differ
  /// Predicted tokens that one of the two has right alone; -1 where their tokens differ.
  int64_t only_row_right = -1, only_against_right = -1;
  double mcnemar_p = kUndefined;  ///< exact, two-sided; takes tokens for independent
};

struct LadderGate {
  std::string row = {};  ///< that it is about
  bool passed = false;
  std::string why = {};
};

struct LadderReport {
  std::string tokens = {}, tokens_sha256 = {};
  std::string sender = {}, receiver = {};
  bool one_tokenizer = true;
  int64_t prefix_tokens = 0, continuation_tokens = 0, first_tokens = 0;
  int64_t sequences = 0, documents = 0;
  int64_t left_out_seen = 0;              ///< sequences of documents that the fit has seen
  int64_t left_out_short = 0;             ///< sequences with too few tokens
  double sender_prefill_ms = kUndefined;  ///< where the sender has not read the prefix yet
  int64_t timed_sequences = 0;            ///< milliseconds and joules are medians over so many
  std::string energy_source = {};         ///< EnergyMeter::source
  std::vector<GateResult> gates = {};
  std::vector<LadderRow> rows = {};
  std::string floor = {};  ///< the row that retention and the gate take for the floor at reread 0
  std::vector<LadderDifference> differences = {};
  LadderGate gate = {};
  std::vector<std::string> warnings = {};
  bool interrupted = false;  ///< stopped before the last sequence: nothing above is filled
};

/// Adds "ladder" (rows), "differences", "gate" and "ladder_data" to report.json's object.
KVALIGN_API void add_to_json(const LadderReport& report, nlohmann::json& json);

/// Table for a terminal; ends with one sentence that says what the numbers mean.
KVALIGN_API std::string to_text(const LadderReport& report);

KVALIGN_API std::string to_markdown(const LadderReport& report);

/// "V1 + sinks keeps 43 % of what ...": the sentence.
KVALIGN_API std::string conclusion(const LadderReport& report);

}  // namespace kvalign
