// The forms of a ladder's report, on one written by hand.
#include "kvalign/evaluate/ladder_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kvalign/evaluate/report.h"

namespace kvalign {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

LadderReport two_ladder_rows() {
  const LadderScores scores{.nll = 1.25,
                            .nll_low = 1,
                            .nll_high = 1.5,
                            .ppl = 3.49,
                            .top1 = 0.5,
                            .nats_per_byte = 0.3125};
  LadderReport report{.tokens = "tokens.safetensors",
                      .tokens_sha256 = "abc",
                      .sender = "small",
                      .receiver = "large",
                      .prefix_tokens = 256,
                      .continuation_tokens = 64,
                      .first_tokens = 16,
                      .sequences = 40,
                      .documents = 9,
                      .left_out_seen = 3,
                      .sender_prefill_ms = 321.4,
                      .timed_sequences = 3,
                      .energy_source = "RAPL package-0",
                      .floor = "sinks alone"};
  report.gates = {{.gate = "own cache", .side = "receiver", .passed = true, .why = "it agrees"}};
  report.rows = {{.row = "v1 + sinks",
                  .text = "linear",
                  .sinks = 4,
                  .wire = "float16",
                  .bytes_per_token = 12288,
                  .sequences = 40,
                  .first = scores,
                  .all = scores,
                  .nll_by_position = {1.5, kUndefined},
                  .retention = 0.714,
                  .retention_first = 0.652,
                  .kl = 0.2,
                  .milliseconds = {10.4, 2, 5},
                  .joules = {20.5, kUndefined, 9}},
                 {.row = "sender alone",
                  .text = "alone",
                  .sequences = 40,
                  .first = scores,
                  .all = scores,
                  .milliseconds = {.continuation = 4.4}}};
  report.differences = {
      {.row = "v1 + sinks",
       .against = "sender alone",
       .nll = {-0.5, -0.75, -0.25},
       .unit = "nats a token",
       .only_row_right = 30,
       .only_against_right = 12,
       .mcnemar_p = 0.008},
      {.row = "text", .against = "sender alone", .nll = {-1, -2, -0.5}, .unit = "nats a byte"}};
  report.gate = {.row = "v1 + sinks", .passed = true, .why = "v1 + sinks is better"};
  report.warnings = {"Mind the step."};
  return report;
}

TEST(LadderReport, Json) {
  nlohmann::json json;
  add_to_json(two_ladder_rows(), json);
  const nlohmann::json& row = json["ladder"][0];
  EXPECT_EQ(row["row"], "v1 + sinks");
  EXPECT_EQ(row["text"], "linear");
  EXPECT_EQ(row["sinks"], 4);
  EXPECT_EQ(row["reread"], 0);
  EXPECT_EQ(row["wire"], "float16");
  EXPECT_EQ(row["bytes_per_token"], 12288);
  EXPECT_EQ(row["sequences"], 40);
  EXPECT_EQ(row["first16"]["nll"], 1.25);
  EXPECT_EQ(row["first16"]["nll_low"], 1);
  EXPECT_EQ(row["all"]["nll_high"], 1.5);
  EXPECT_EQ(row["nll_by_position"], (nlohmann::json{1.5, nullptr}));
  EXPECT_EQ(row["all"]["ppl"], 3.49);
  EXPECT_EQ(row["all"]["top1"], 0.5);
  EXPECT_EQ(row["retention"], 0.714);
  EXPECT_EQ(row["retention_first16"], 0.652);
  EXPECT_TRUE(json["ladder"][1]["wire"].is_null());
  EXPECT_TRUE(json["ladder"][1]["kl"].is_null());
  EXPECT_TRUE(json["ladder"][1]["milliseconds"]["project"].is_null());
  EXPECT_EQ(row["joules"]["prefill"], 20.5);
  EXPECT_TRUE(row["joules"]["project"].is_null());
  EXPECT_EQ(row["joules"]["continue"], 9);
  EXPECT_EQ(json["ladder_data"]["energy_source"], "RAPL package-0");
  const nlohmann::json& difference = json["differences"][0];
  EXPECT_EQ(difference["row"], "v1 + sinks");
  EXPECT_EQ(difference["against"], "sender alone");
  EXPECT_EQ(difference["nll"], -0.5);
  EXPECT_EQ(difference["low"], -0.75);
  EXPECT_EQ(difference["high"], -0.25);
  EXPECT_EQ(difference["mcnemar"]["only_row_right"], 30);
  EXPECT_FALSE(json["differences"][1].contains("mcnemar"));
  EXPECT_EQ(json["gate"]["passed"], true);
  EXPECT_EQ(json["gate"]["why"], "v1 + sinks is better");
  EXPECT_EQ(json["ladder_data"]["sender_prefill_ms"]["cold"], 321.4);
  EXPECT_EQ(json["ladder_data"]["identity"][0]["passed"], true);
}

TEST(LadderReport, Terminal) {
  const std::string text = to_text(two_ladder_rows());
  EXPECT_THAT(text,
              HasSubstr("row           nll first 16    nll   ppl  top-1 first 16  top-1  "
                        "retention first 16  retention     KL  nats/byte  bytes/token  ms\n"
                        "v1 + sinks           1.250  1.250  3.49           0.500  0.500  "
                        "              65 %       71 %  0.200      0.312      12288.0  17\n"
                        "sender alone         1.250  1.250  3.49           0.500  0.500  "
                        "                 -          -      -      0.312            -   4\n"));
  EXPECT_THAT(text, HasSubstr("40 held-out sequences of 9 documents: 256 tokens of prefix, 64"));
  EXPECT_THAT(text, HasSubstr("Left out: 3 sequences of documents that the fit has seen, 0 with"));
  EXPECT_THAT(text, HasSubstr("0 ms where it has read the prefix already, 321 ms where not"));
  EXPECT_THAT(text, HasSubstr("Passed: it agrees.\nWarning: Mind the step.\n"));
  EXPECT_THAT(text,
              ::testing::EndsWith(
                  "v1 + sinks keeps 71 % of what the receiver's true cache is worth over "
                  "knowing nothing of the context. The gate is met: v1 + sinks is better.\n"));
}

TEST(LadderReport, SaysWhatRetentionIsOfRowsToTheSender) {
  LadderReport report = two_ladder_rows();
  EXPECT_THAT(to_text(report), Not(HasSubstr("rows to the sender")));
  report.rows.push_back({.row = "sender, no cache"});
  EXPECT_THAT(to_text(report), HasSubstr("Of rows to the sender 0 is the best that carries"));
}

TEST(LadderReport, ConclusionOfAGateThatIsNotMet) {
  LadderReport report = two_ladder_rows();
  report.gate.passed = false;
  report.rows[0].retention = kUndefined;
  EXPECT_EQ(conclusion(report),
            "v1 + sinks cannot be placed between floor and true cache. The gate is NOT met: "
            "v1 + sinks is better.");
}

TEST(LadderReport, Markdown) {
  const std::string text = to_markdown(two_ladder_rows());
  EXPECT_THAT(text, ::testing::StartsWith("# Ladder: small to large\n\n| row | nll first 16 |"));
  EXPECT_THAT(text, HasSubstr("| v1 + sinks | sender alone | -0.5000 [-0.7500, -0.2500] | 30 | 12 "
                              "| 0.008 |\n"));
  EXPECT_THAT(text, HasSubstr("| text | sender alone | -1.0000 [-2.0000, -0.5000] nats a byte | - "
                              "| - | - |\n"));
  EXPECT_THAT(text, HasSubstr("| v1 + sinks | 10.4 | 2.0 | 5.0 | 20.5 | - | 9.0 |\n| sender alone "
                              "| - | - | 4.4 | - | - | - |"));
  EXPECT_THAT(text, HasSubstr("- `v1 + sinks`: linear\n"));
}

TEST(LadderReport, IsPartOfTheWholeReport) {
  Report report;
  report.rows = {{.row = "v1"}};
  EXPECT_FALSE(to_json(report).contains("ladder"));
  report.ladder = two_ladder_rows();
  EXPECT_EQ(to_json(report)["ladder"].size(), 2);
  EXPECT_EQ(to_json(report)["gate"]["row"], "v1 + sinks");
  EXPECT_THAT(to_text(report), ::testing::EndsWith("v1 + sinks is better.\n"));
  EXPECT_THAT(to_markdown(report), ::testing::StartsWith("# Ladder: small to large"));
  EXPECT_THAT(to_markdown(report), HasSubstr("\n# Reconstruction: "));
}

}  // namespace
}  // namespace kvalign
