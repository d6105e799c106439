// ladder.jsonl: what a stopped, repeated or grown ladder computes again, and what it does not.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <set>

#include "kvalign/evaluate/ladder.h"
#include "tiny_ladder.h"

namespace kvalign::testing {
namespace {

TEST(LadderStore, StoppedRunGoesOnToTheSameReport) {
  TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.baselines = {"pad"};
  tiny.evaluate.output = tiny.folder.file("whole");
  const LadderReport whole = tiny.open().climb();
  tiny.evaluate.output = tiny.folder.file("stopped");
  int64_t asked = 0;
  const LadderReport stopped = tiny.open().climb({.stop_requested = [&] { return ++asked > 3; }});
  EXPECT_TRUE(stopped.interrupted);
  EXPECT_TRUE(stopped.rows.empty());
  const std::string path = tiny.folder.file("stopped/ladder.jsonl");
  std::ofstream(path, std::ios::app) << R"({"sequence": 7, "rows)";  // killed while writing
  int64_t computed = 0;
  const LadderReport resumed =
      tiny.open().climb({.stop_requested = [&] { return ++computed > 99; }});
  EXPECT_EQ(computed, 5);  // of 8
  nlohmann::json first, second;
  add_to_json(whole, first);
  add_to_json(resumed, second);
  EXPECT_EQ(first["differences"], second["differences"]);
  for (size_t row = 0; row < first["ladder"].size(); ++row) {
    first["ladder"][row].erase("milliseconds");
    second["ladder"][row].erase("milliseconds");
    EXPECT_EQ(first["ladder"][row], second["ladder"][row]);
  }
}

TEST(LadderStore, ALadderWithMoreRowsComputesThoseAlone) {
  TinyLadder tiny("llama", "qwen3");
  tiny.evaluate.baselines = {};
  tiny.evaluate.output = tiny.folder.file("grown");
  tiny.open().climb();
  tiny.evaluate.baselines = {"pad"};
  const LadderReport grown = tiny.open().climb();
  std::set<std::string> added;
  std::ifstream file(tiny.folder.file("grown/ladder.jsonl"));
  int64_t number = 0;
  for (std::string line; std::getline(file, line); ++number) {
    const nlohmann::json json = nlohmann::json::parse(line);
    // The first run wrote a first line, times and 8 texts; the second its own times and 8 texts.
    if (number <= 10 || !json.contains("sequence")) continue;
    for (const auto& row : json["rows"].items()) added.insert(row.key());
  }
  EXPECT_EQ(number, 19);
  EXPECT_EQ(added, (std::set<std::string>{"pad + sinks, sinks 2, reread 0, of pad",
                                          "pad + sinks + last 3, sinks 2, reread 3, of pad",
                                          "pad + last 3, sinks 0, reread 3, of pad",
                                          "pad, sinks 0, reread 0, of pad"}));
  tiny.evaluate.output = "";
  const LadderReport whole = tiny.open().climb();
  ASSERT_EQ(names_of(grown), names_of(whole));
  for (size_t row = 0; row < whole.rows.size(); ++row) {
    EXPECT_NEAR(grown.rows[row].all.nll, whole.rows[row].all.nll, 1e-5) << whole.rows[row].row;
  }
}

TEST(LadderStore, TimesOfAVersionWithoutEnergyAreRead) {
  TinyLadder tiny("llama", "llama");
  tiny.evaluate.baselines = {};
  tiny.evaluate.output = tiny.folder.file("old");
  const LadderReport before = tiny.open().climb();
  EXPECT_FALSE(before.energy_source.empty());
  const std::string path = tiny.folder.file("old/ladder.jsonl");
  std::string text;
  {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      nlohmann::json json = nlohmann::json::parse(line);
      if (json.contains("times")) {
        EXPECT_EQ(json["times"].erase("joules"), 1);
        EXPECT_EQ(json["times"].erase("energy_source"), 1);
      }
      text += json.dump() + "\n";
    }
  }
  std::ofstream(path) << text;
  const LadderReport after = tiny.open().climb();
  EXPECT_EQ(after.energy_source, "not measured: the times are of a version without energy");
  ASSERT_EQ(after.rows.size(), before.rows.size());
  for (size_t row = 0; row < after.rows.size(); ++row) {
    EXPECT_EQ(after.rows[row].milliseconds.continuation,
              before.rows[row].milliseconds.continuation);
    EXPECT_TRUE(std::isnan(after.rows[row].joules.continuation));
  }
}

TEST(LadderStore, OtherOptionsOrCheckpointStartAnew) {
  TinyLadder tiny("llama", "llama");
  tiny.evaluate.baselines = {};
  tiny.evaluate.output = tiny.folder.file("out");
  const auto texts_computed = [&] {
    int64_t asked = 0;
    tiny.open().climb({.stop_requested = [&] { return ++asked > 99; }});
    return asked;
  };
  EXPECT_EQ(texts_computed(), 8);
  EXPECT_EQ(texts_computed(), 0);
  tiny.evaluate.bootstrap_resamples = 50;  // decides no score
  tiny.options.sequences = 5;
  EXPECT_EQ(texts_computed(), 0);
  tiny.options.wire = "bfloat16";
  EXPECT_EQ(texts_computed(), 5);
  tiny.save_checkpoint_of(/*identity=*/true);
  EXPECT_EQ(texts_computed(), 5);
}

}  // namespace
}  // namespace kvalign::testing
