// Times variants of one piece of work in turns, A B C A, A B C A, ..., in one process: whatever
// else the machine does hits all of them alike, and the first one's second turn tells how much that
// is. The stopwatch is given, so that this is tested without time. Free of LibTorch.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign::benchmark {

/// Seconds that `work` took, its device's part included.
using Stopwatch = std::function<double(const std::function<void()>& work)>;

struct Variant {
  std::string name;
  std::function<void()> call;
  /// After the first call, before anything is timed: throws where what it left is wrong. May be
  /// empty.
  std::function<void()> check = {};
};

struct TurnOptions {
  int64_t rounds = 11;  ///< at least 5
  /// A sample repeats calls until it is as long as this: clocks and loops have costs of their own.
  double least_sample_seconds = 1e-3;
  /// Before a sample one call goes untimed, so that no variant starts from what another left in the
  /// caches; not where a call takes longer than this, and what was left is soon gone.
  double longest_warm_up_seconds = 0.1;
  /// Rounds that would take longer in all are left out, but for the first 5.
  double longest_seconds = 15;
};

struct Times {
  std::string name;
  double first_call_seconds = 0;  ///< of its kind in the process: packs, allocates, compiles
  int64_t repetitions = 1;        ///< calls of a sample
  std::vector<double> seconds;    ///< of one call, round by round
};

struct Turns {
  std::vector<Times> variants;
  std::vector<double> again;  ///< of the first variant's second turn
};

/// First calls and checks of all variants in their order, then rounds. Throws std::invalid_argument
/// without a variant and for fewer than 5 rounds, and whatever a call or a check throws.
KVALIGN_API Turns take_turns(const std::vector<Variant>& variants, const TurnOptions& options,
                             const Stopwatch& stopwatch);

}  // namespace kvalign::benchmark
