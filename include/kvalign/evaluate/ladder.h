// The ladder: a frozen receiver reads the same held-out texts after its true cache, after every
// projected one, after caches that know nothing of the text, and alone; the sender reads them too.
// Says whether a projection is worth anything. Trains nothing; writes ladder.jsonl, from which a
// stopped run goes on, and nothing else.
//
// Last-token protocol: of a prefix of n tokens the cache covers the first n - 1 - r, the receiver
// consumes the last 1 + r and then, teacher-forced, the continuation's first m - 1: m predictions.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kvalign/evaluate/cost_report.h"
#include "kvalign/evaluate/evaluate.h"
#include "kvalign/evaluate/evaluate_options.h"
#include "kvalign/evaluate/identity_gate.h"
#include "kvalign/evaluate/ladder_options.h"
#include "kvalign/evaluate/ladder_report.h"
#include "kvalign/format/export.h"
#include "kvalign/train/recipe.h"

namespace kvalign {

struct LadderSetup;

struct LadderHooks {
  EvaluateProgress progress = nullptr;             ///< told after each sequence
  std::function<bool()> stop_requested = nullptr;  ///< asked after each sequence
  CacheTransport transport = nullptr;  ///< of the true cache's row, before `wire`; none: as it is
};

/// Greedy text of one held-out sequence after each kind of cache, for a person to look at.
struct Continuation {
  std::string name, text;
};
struct Continuations {
  int64_t sequence = 0;    ///< number in the token file
  std::string prefix_end;  ///< the last words that all have read
  std::string truth;       ///< what the text goes on with
  std::vector<Continuation> rows;
};

class KVALIGN_API Ladder {
 public:
  /// Opens models, dataset, token file and checkpoints, and checks that they belong together and
  /// that the texts are held out: sequences of documents that training or validation has seen are
  /// left out. Throws std::invalid_argument and std::runtime_error, naming what differs, for: a
  /// flat dataset or one without document hashes, another tokenizer, a decoder whose geometry is
  /// not the dataset's, no checkpoint, fewer than two held-out documents, and the errors of the
  /// files themselves.
  static Ladder open(const Recipe& recipe, const EvaluateOptions& evaluate,
                     const LadderOptions& options, const EvaluateProgress& progress = nullptr);
  ~Ladder();
  Ladder(Ladder&&) noexcept;

  /// Own caches of receiver and sender, then the dataset's stored caches against both.
  /// `transport` is for the own caches.
  std::vector<GateResult> check_identity(const CacheTransport& transport = transport_by_file,
                                         const EvaluateProgress& progress = nullptr) const;

  /// Runs all rows on all sequences, those that `evaluate.output`/ladder.jsonl does not hold yet.
  LadderReport climb(const LadderHooks& hooks = {}) const;

  /// What the rows that `report` holds would cost on the devices of a recipe: of this ladder's
  /// models, prefix and wires. Throws as read_cost_setting.
  CostReport estimate_cost(const CostOptions& options, const LadderReport& report) const;

  /// `sequence` counts the held-out sequences from 0. Throws std::invalid_argument for one that
  /// does not exist.
  Continuations continue_greedily(int64_t sequence, int64_t num_tokens) const;

 private:
  explicit Ladder(std::unique_ptr<const LadderSetup> setup);
  std::unique_ptr<const LadderSetup> setup_;
};

}  // namespace kvalign
