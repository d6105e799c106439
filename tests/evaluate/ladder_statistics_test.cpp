// Figures, intervals and verdicts on scores written by hand.
#include "kvalign/evaluate/ladder_statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/throws.h"

namespace kvalign {
namespace {

enum Row : size_t { kText, kTrue, kProjectedRow, kProjectedLast, kWrong, kStart, kSender };

const std::vector<LadderRowInfo> kRows = {
    {.row = "text", .text = "", .role = RowRole::kText},
    {.row = "true cache", .text = "", .role = RowRole::kTrueCache, .wire = "float16"},
    {.row = "v1 + sinks", .text = "", .role = RowRole::kProjected, .sinks = 4, .wire = "float16"},
    {.row = "v1 + last 8", .text = "", .role = RowRole::kProjected, .reread = 8},
    {.row = "wrong document", .text = "", .role = RowRole::kFloor},
    {.row = "last 8", .text = "", .role = RowRole::kFloor, .reread = 8},
    {.row = "sender alone", .text = "", .role = RowRole::kSenderAlone}};

// `num_documents` documents of one sequence, 20 tokens each; every token of a row costs what `nll`
// says, plus something of its document that all rows share.
std::vector<SequenceScores> scores_of(const std::vector<double>& nll, int64_t num_documents = 8) {
  std::vector<SequenceScores> sequences;
  for (int64_t document = 0; document < num_documents; ++document) {
    SequenceScores sequence{.sequence = document,
                            .document = document,
                            .first = {.receiver = {0, 16}, .sender = {0, 16}, .bytes = 40},
                            .all = {.receiver = {0, 20}, .sender = {0, 20}, .bytes = 50}};
    for (const double of_row : nll) {
      const double of_document = 0.3 * static_cast<double>(document % 3);
      sequence.rows.push_back({.nll = std::vector<double>(20, of_row + of_document),
                               .hits = std::vector<int64_t>(20, of_row < 1.5 ? 1 : 0),
                               .kl = of_row,
                               .bytes = 100});
    }
    sequences.push_back(sequence);
  }
  return sequences;
}

StatisticsOptions options() {
  return {.prefix_tokens = 25, .bootstrap_resamples = 200, .judged_row = kProjectedRow};
}

LadderReport report_of(const std::vector<double>& nll,
                       const StatisticsOptions& statistics = options()) {
  LadderReport report;
  fill_statistics(kRows, scores_of(nll), statistics, report);
  return report;
}

const LadderDifference& difference_of(const LadderReport& report, const std::string& row,
                                      const std::string& against) {
  for (const LadderDifference& difference : report.differences) {
    if (difference.row == row && difference.against == against) return difference;
  }
  throw std::runtime_error("no difference of " + row + " to " + against);
}

// text, true, projected, projected + last, wrong, last alone, sender
const std::vector<double> kGood = {1.0, 1.0, 1.4, 1.2, 3.0, 2.0, 2.2};

TEST(LadderStatistics, FiguresOfARow) {
  const LadderReport report = report_of(kGood);
  const LadderRow& row = report.rows[kProjectedRow];
  const double nll = 1.4 + 0.3 * (0 + 1 + 2 + 0 + 1 + 2 + 0 + 1) / 8.0;
  EXPECT_NEAR(row.all.nll, nll, 1e-12);
  EXPECT_NEAR(row.first.nll, nll, 1e-12);
  EXPECT_NEAR(row.all.ppl, std::exp(nll), 1e-9);
  EXPECT_EQ(row.all.top1, 1);
  EXPECT_NEAR(row.all.nats_per_byte, nll * 20 / 50, 1e-12);
  EXPECT_NEAR(row.first.nats_per_byte, nll * 16 / 40, 1e-12);
  EXPECT_NEAR(row.kl, 1.4, 1e-12);
  EXPECT_EQ(row.bytes_per_token, 4);
  EXPECT_EQ(row.sequences, 8);
  EXPECT_EQ(row.wire, "float16");
  EXPECT_EQ(report.documents, 8);
}

TEST(LadderStatistics, NllHasAnIntervalOverDocuments) {
  const LadderReport report = report_of(kGood);
  for (const LadderScores& scores : {report.rows[kProjectedRow].all, report.rows[kSender].first}) {
    EXPECT_LT(scores.nll_low, scores.nll);
    EXPECT_GT(scores.nll_high, scores.nll);
    // 1.96 standard deviations of the mean of 8 draws from {0, .3, .6, 0, .3, .6, 0, .3}.
    const double half =
        1.96 * std::sqrt((3 * 0.09 + 2 * 0.36) / 8 - 0.2625 * 0.2625) / std::sqrt(8);
    EXPECT_NEAR(scores.nll_high - scores.nll_low, 2 * half, 0.25 * half);
  }
  LadderReport one;
  fill_statistics(kRows, scores_of(kGood, 1), options(), one);
  EXPECT_TRUE(std::isnan(one.rows[kText].all.nll_low));
}

TEST(LadderStatistics, NllByPositionIsAMeanOverSequences) {
  std::vector<SequenceScores> sequences = scores_of(kGood, 2);
  sequences[0].rows[kProjectedRow].nll[3] = 5;
  sequences[1].rows[kProjectedRow].nll[3] = 6;
  sequences[1].all.sender = {0, 16};
  sequences[1].rows[kSender].nll.resize(18);
  sequences[1].rows[kSender].hits.resize(18);
  LadderReport report;
  fill_statistics(kRows, sequences, options(), report);
  const std::vector<double>& projected = report.rows[kProjectedRow].nll_by_position;
  ASSERT_EQ(projected.size(), 20);
  EXPECT_DOUBLE_EQ(projected[2], 1.4 + 0.15);
  EXPECT_EQ(projected[3], 5.5);
  const std::vector<double>& sender = report.rows[kSender].nll_by_position;
  ASSERT_EQ(sender.size(), 20);
  EXPECT_DOUBLE_EQ(sender[17], 2.2 + 0.15);
  EXPECT_TRUE(std::isnan(sender[18]));  // which one sequence lacks
}

TEST(LadderStatistics, RetentionHasTheFloorOfItsOwnReread) {
  const LadderReport report = report_of(kGood);
  EXPECT_EQ(report.floor, "wrong document");
  EXPECT_NEAR(report.rows[kProjectedRow].retention, (3.0 - 1.4) / (3.0 - 1.0), 1e-12);
  EXPECT_NEAR(report.rows[kProjectedLast].retention, (2.0 - 1.2) / (2.0 - 1.0), 1e-12);
  EXPECT_NEAR(report.rows[kTrue].retention, 1, 1e-12);
  EXPECT_NEAR(report.rows[kWrong].retention, 0, 1e-12);
  EXPECT_NEAR(report.rows[kProjectedRow].retention_first, (3.0 - 1.4) / (3.0 - 1.0), 1e-12);
  EXPECT_NEAR(report.rows[kProjectedLast].retention_first, (2.0 - 1.2) / (2.0 - 1.0), 1e-12);
}

TEST(LadderStatistics, DifferencesArePaired) {
  const LadderReport report = report_of(kGood);
  // What a document costs is the same in both rows, so that it leaves no doubt.
  const LadderDifference& to_sender = difference_of(report, "v1 + sinks", "sender alone");
  EXPECT_NEAR(to_sender.nll.value, -0.8, 1e-12);
  EXPECT_NEAR(to_sender.nll.low, -0.8, 1e-12);
  EXPECT_NEAR(to_sender.nll.high, -0.8, 1e-12);
  EXPECT_EQ(to_sender.unit, "nats a token");
  EXPECT_EQ(to_sender.only_row_right, 160);
  EXPECT_EQ(to_sender.only_against_right, 0);
  EXPECT_LT(to_sender.mcnemar_p, 1e-40);
  EXPECT_NEAR(difference_of(report, "v1 + last 8", "last 8").nll.value, -0.8, 1e-12);
}

TEST(LadderStatistics, GateIsMet) {
  const LadderGate gate = report_of(kGood).gate;
  EXPECT_TRUE(gate.passed);
  EXPECT_EQ(gate.row, "v1 + sinks");
  EXPECT_EQ(gate.why,
            "v1 + sinks is better than sender alone: -0.8000 [-0.8000, -0.8000] nats a token; "
            "v1 + sinks is better than wrong document: -1.6000 [-1.6000, -1.6000] nats a token");
}

TEST(LadderStatistics, GateIsNotMetBySenderFloorOrCeiling) {
  EXPECT_THAT(report_of({1.0, 1.0, 2.3, 1.2, 3.0, 2.0, 2.2}).gate.why,
              ::testing::HasSubstr("v1 + sinks is not better than sender alone: 0.1000"));
  EXPECT_THAT(report_of({1.0, 1.0, 1.9, 1.2, 1.8, 2.0, 2.2}).gate.why,
              ::testing::HasSubstr("v1 + sinks is not better than wrong document: 0.1000"));
  const LadderReport report = report_of({1.0, 1.1, 1.4, 1.2, 3.0, 2.0, 2.2});
  EXPECT_FALSE(report.gate.passed);
  EXPECT_THAT(report.gate.why,
              ::testing::HasSubstr("The true cache does not match the text row: the nll of a token "
                                   "differs by 0.1 nats in the mean (at most 0.01"));
  EXPECT_THAT(report.warnings, ::testing::ElementsAre(::testing::HasSubstr("text row")));
}

// Better on average, but not on most documents: the interval holds 0.
TEST(LadderStatistics, GateNeedsAnIntervalWithoutZero) {
  std::vector<SequenceScores> sequences = scores_of(kGood);
  for (SequenceScores& sequence : sequences) {
    if (sequence.document == 0) continue;
    sequence.rows[kProjectedRow].nll = std::vector<double>(20, 2.2 + 0.3 * (sequence.document % 3));
  }
  LadderReport report;
  fill_statistics(kRows, sequences, options(), report);
  const LadderDifference& to_sender = difference_of(report, "v1 + sinks", "sender alone");
  EXPECT_LT(to_sender.nll.value, 0);
  EXPECT_GE(to_sender.nll.high, -1e-9);
  EXPECT_FALSE(report.gate.passed);
}

TEST(LadderStatistics, OneDocumentGivesNoVerdict) {
  LadderReport report;
  fill_statistics(kRows, scores_of(kGood, 1), options(), report);
  EXPECT_FALSE(report.gate.passed);
  EXPECT_THAT(report.gate.why, ::testing::HasSubstr("one document alone gives no interval"));
}

TEST(LadderStatistics, WithoutRoomThereIsNoRetention) {
  const LadderReport report = report_of({2.0, 2.0, 1.4, 1.2, 1.9, 2.0, 2.2});
  EXPECT_TRUE(std::isnan(report.rows[kProjectedRow].retention));
  EXPECT_THAT(report.warnings, ::testing::ElementsAre(::testing::HasSubstr(
                                   "The true cache is no better than wrong document")));
}

// The sender has 10 tokens of its own where the receiver has 20; both windows are 45 bytes.
TEST(LadderStatistics, TwoTokenizersCompareBytes) {
  std::vector<SequenceScores> sequences = scores_of(kGood);
  for (SequenceScores& sequence : sequences) {
    sequence.all = {.receiver = {2, 20}, .sender = {1, 10}, .bytes = 45};
    sequence.first = {.receiver = {2, 14}, .sender = {1, 7}, .bytes = 30};
    sequence.rows[kSender].nll = std::vector<double>(10, 4.0);
    sequence.rows[kSender].hits = std::vector<int64_t>(10, 0);
    sequence.rows[kProjectedRow].nll = std::vector<double>(20, 1.5);
  }
  StatisticsOptions statistics = options();
  statistics.one_tokenizer = false;
  LadderReport report;
  fill_statistics(kRows, sequences, statistics, report);
  EXPECT_EQ(report.rows[kSender].all.nll, 4);
  EXPECT_NEAR(report.rows[kSender].all.nats_per_byte, 9 * 4.0 / 45, 1e-12);
  const LadderDifference& to_sender = difference_of(report, "v1 + sinks", "sender alone");
  EXPECT_EQ(to_sender.unit, "nats a byte");
  EXPECT_NEAR(to_sender.nll.value, (18 * 1.5 - 9 * 4.0) / 45, 1e-12);
  EXPECT_EQ(to_sender.only_row_right, -1);
  EXPECT_TRUE(std::isnan(to_sender.mcnemar_p));
  EXPECT_EQ(difference_of(report, "v1 + sinks", "wrong document").unit, "nats a token");
}

TEST(LadderStatistics, RefusesWhatIsIncomplete) {
  LadderReport report;
  std::vector<SequenceScores> short_of_tokens = scores_of(kGood);
  short_of_tokens[1].rows[kSender].nll.resize(10);
  short_of_tokens[1].rows[kSender].hits.resize(10);
  EXPECT_THROWS_WITH(fill_statistics(kRows, short_of_tokens, options(), report),
                     "got 10 for the row 'sender alone' of sequence 1");
  EXPECT_THROWS_WITH(fill_statistics(kRows, {}, options(), report), "got none");
  EXPECT_THROWS_WITH(fill_statistics(kRows, scores_of({1, 2}), options(), report),
                     "expected scores of 7 rows, got 2 of sequence 0");
  StatisticsOptions beyond = options();
  beyond.judged_row = 7;
  EXPECT_THROWS_WITH(fill_statistics(kRows, scores_of(kGood), beyond, report),
                     "a row to judge below 7, got 7");
  std::vector<LadderRowInfo> without_text = kRows;
  without_text[kText].role = RowRole::kProjected;
  EXPECT_THROWS_WITH(fill_statistics(without_text, scores_of(kGood), options(), report),
                     "expected a row for text, got none");
  std::vector<LadderRowInfo> without_floor = kRows;
  without_floor[kWrong].role = RowRole::kProjected;
  EXPECT_THROWS_WITH(fill_statistics(without_floor, scores_of(kGood), options(), report),
                     "expected a floor row of reread 0");
}

// 2 sum_k C(n, k) / 2^n in exact fractions (Python's fractions and math.comb), cut at 1; what
// scipy.stats.binomtest(b, b + c).pvalue is.
TEST(McNemar, EqualsExactFractions) {
  EXPECT_EQ(mcnemar_exact(0, 0), 1);
  EXPECT_NEAR(mcnemar_exact(0, 1), 1, 1e-12);
  EXPECT_NEAR(mcnemar_exact(5, 5), 1, 1e-12);
  EXPECT_NEAR(mcnemar_exact(3, 10), 0.09228515625, 1e-12);
  EXPECT_NEAR(mcnemar_exact(10, 3), 0.09228515625, 1e-12);
  EXPECT_NEAR(mcnemar_exact(40, 71), 0.004195534185394854, 1e-13);
  EXPECT_NEAR(mcnemar_exact(400, 520), 8.549170923883778e-05, 1e-14);
  EXPECT_THROWS_WITH(mcnemar_exact(-1, 2), "got -1 and 2");
}

}  // namespace
}  // namespace kvalign
