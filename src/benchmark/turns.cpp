// See turns.h.
#include "kvalign/benchmark/turns.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace kvalign::benchmark {
namespace {

constexpr int64_t kLeastRounds = 5;
constexpr int64_t kMostRepetitions = 1 << 20;  // of a call that no clock can see

double sample(const Variant& variant, int64_t repetitions, const Stopwatch& stopwatch) {
  return stopwatch([&] {
    for (int64_t i = 0; i < repetitions; ++i) variant.call();
  });
}

// Calls that fill a sample. A first call that is long enough by itself says that one does.
int64_t choose_repetitions(const Variant& variant, double first_call_seconds,
                           const TurnOptions& options, const Stopwatch& stopwatch) {
  if (first_call_seconds > options.longest_warm_up_seconds) return 1;
  int64_t repetitions = 1;
  while (repetitions < kMostRepetitions) {
    const double seconds = sample(variant, repetitions, stopwatch);
    if (seconds >= options.least_sample_seconds) break;
    const double missing = options.least_sample_seconds / std::max(seconds, 1e-9);
    const double next = std::ceil(static_cast<double>(repetitions) * std::clamp(missing, 1.1, 10.));
    repetitions = std::min(static_cast<int64_t>(next), kMostRepetitions);
  }
  return repetitions;
}

// Seconds of one call in one turn.
double take_turn(const Variant& variant, const Times& times, const TurnOptions& options,
                 const Stopwatch& stopwatch) {
  const double usual = times.seconds.empty() ? times.first_call_seconds : times.seconds.back();
  if (usual <= options.longest_warm_up_seconds) variant.call();
  const double seconds = sample(variant, times.repetitions, stopwatch);
  return seconds / static_cast<double>(times.repetitions);
}

}  // namespace

Turns take_turns(const std::vector<Variant>& variants, const TurnOptions& options,
                 const Stopwatch& stopwatch) {
  if (variants.empty()) throw std::invalid_argument("take_turns: expected a variant, got none");
  if (options.rounds < kLeastRounds) {
    throw std::invalid_argument("take_turns: expected at least 5 rounds, got " +
                                std::to_string(options.rounds) + ": fewer have no percentiles");
  }
  Turns turns;
  for (const Variant& variant : variants) {
    turns.variants.push_back(
        {.name = variant.name, .first_call_seconds = stopwatch(variant.call), .seconds = {}});
    if (variant.check) variant.check();
  }
  for (size_t i = 0; i < variants.size(); ++i) {
    Times& times = turns.variants[i];
    times.repetitions =
        choose_repetitions(variants[i], times.first_call_seconds, options, stopwatch);
  }
  double spent = 0;
  for (int64_t round = 0; round < options.rounds; ++round) {
    const double next = round == 0 ? 0 : spent / static_cast<double>(round);
    if (round >= kLeastRounds && spent + next > options.longest_seconds) break;
    for (size_t i = 0; i < variants.size(); ++i) {
      Times& times = turns.variants[i];
      times.seconds.push_back(take_turn(variants[i], times, options, stopwatch));
      spent += times.seconds.back() * static_cast<double>(times.repetitions);
    }
    turns.again.push_back(take_turn(variants[0], turns.variants[0], options, stopwatch));
    spent += turns.again.back() * static_cast<double>(turns.variants[0].repetitions);
  }
  return turns;
}

}  // namespace kvalign::benchmark
