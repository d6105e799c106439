// Turns on a clock that moves only when a scripted variant says so: nothing here waits or measures.
#include "kvalign/benchmark/turns.h"

#include <gmock/gmock.h>

#include <deque>

#include "tests/support/throws.h"

namespace kvalign::benchmark {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::SizeIs;

// Time that passes only in its variants' calls; remembers who was called when.
class Script {
 public:
  // A variant whose calls take these seconds, the last of them for ever.
  Variant variant(const std::string& name, std::deque<double> seconds) {
    return {name, [this, name, seconds]() mutable {
              calls += name;
              now_ += seconds.front();
              if (seconds.size() > 1) seconds.pop_front();
            }};
  }
  Stopwatch stopwatch() {
    return [this](const std::function<void()>& work) {
      const double start = now_;
      work();
      return now_ - start;
    };
  }
  std::string calls;

 private:
  double now_ = 0;
};

constexpr TurnOptions kFiveRounds = {.rounds = 5};

TEST(BenchmarkTurns, FirstCallsThenRoundsInOrderWithTheFirstAgain) {
  Script script;
  const Turns turns = take_turns({script.variant("a", {9, 1}), script.variant("b", {8, 2})},
                                 kFiveRounds, script.stopwatch());
  EXPECT_EQ(script.calls, "ababaabaabaabaaba");
  EXPECT_EQ(turns.variants[0].name, "a");
  EXPECT_EQ(turns.variants[0].first_call_seconds, 9);
  EXPECT_EQ(turns.variants[1].first_call_seconds, 8);
  EXPECT_THAT(turns.variants[0].seconds, ElementsAre(1, 1, 1, 1, 1));
  EXPECT_THAT(turns.variants[1].seconds, ElementsAre(2, 2, 2, 2, 2));
  EXPECT_THAT(turns.again, ElementsAre(1, 1, 1, 1, 1));
}

// Calls longer than 0.1 s have no warm-up and no trial; a, shorter, has one of each.
TEST(BenchmarkTurns, ShortCallsAreWarmedUpBeforeASample) {
  Script script;
  const Turns turns = take_turns({script.variant("a", {0.05}), script.variant("b", {1})},
                                 kFiveRounds, script.stopwatch());
  EXPECT_EQ(script.calls.substr(0, 8), "abaaabaa");
  EXPECT_THAT(turns.variants[0].seconds, SizeIs(5));
}

// A first call is no trial where it is short: 0.02 s of packing do not make 40 us a sample.
TEST(BenchmarkTurns, SamplesOfShortCallsAreRepeated) {
  Script script;
  const Turns turns =
      take_turns({script.variant("a", {0.02, 4e-5})}, kFiveRounds, script.stopwatch());
  const int64_t repetitions = turns.variants[0].repetitions;
  EXPECT_GE(static_cast<double>(repetitions) * 4e-5, 1e-3 * (1 - 1e-9));
  EXPECT_LE(repetitions, 30);
  EXPECT_THAT(turns.variants[0].seconds, Each(::testing::DoubleNear(4e-5, 1e-12)));
}

TEST(BenchmarkTurns, CallsThatNoClockSeesEnd) {
  Script script;
  const Turns turns = take_turns({script.variant("", {0})}, kFiveRounds, script.stopwatch());
  EXPECT_EQ(turns.variants[0].repetitions, 1 << 20);
}

TEST(BenchmarkTurns, LongRoundsAreFewerButAtLeastFive) {
  const auto rounds_of = [](double seconds) {
    Script script;
    const Turns turns = take_turns({script.variant("a", {seconds})},
                                   {.rounds = 20, .longest_seconds = 30}, script.stopwatch());
    return turns.again.size();
  };
  EXPECT_EQ(rounds_of(0.5), 20);
  EXPECT_EQ(rounds_of(1.0), 15);  // a round of a and a again takes 2 s
  EXPECT_EQ(rounds_of(100.), 5);
}

TEST(BenchmarkTurns, WhatIsWrongIsNeverTimed) {
  Script script;
  Variant wrong = script.variant("b", {1});
  wrong.check = [] { throw std::runtime_error("b is wrong"); };
  EXPECT_THROWS_WITH(take_turns({script.variant("a", {1}), wrong}, kFiveRounds, script.stopwatch()),
                     "b is wrong");
  EXPECT_EQ(script.calls, "ab");
}

TEST(BenchmarkTurns, RefusesTooLittle) {
  Script script;
  EXPECT_THROWS_WITH(take_turns({}, kFiveRounds, script.stopwatch()),
                     "expected a variant, got none");
  EXPECT_THROWS_WITH(take_turns({script.variant("a", {1})}, {.rounds = 4}, script.stopwatch()),
                     "expected at least 5 rounds, got 4");
}

}  // namespace
}  // namespace kvalign::benchmark
