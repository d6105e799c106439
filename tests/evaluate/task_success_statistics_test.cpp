// Choosing answers, and figures of answers whose values are known.
#include "kvalign/evaluate/task_success_statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/throws.h"

namespace kvalign {
namespace {

TEST(ChooseAnswer, MeanIsPerTokenNotPerAnswer) {
  // A sum would choose class 0 (-2 against -3), a token has -2 against -1.
  EXPECT_EQ(choose_answer("mean", {-2, -3}, {0, 0}, {1, 3}), 1);
  EXPECT_EQ(choose_answer("mean", {-2, -3}, {0, 0}, {1, 1}), 0);
  EXPECT_EQ(choose_answer("mean", {-2, -2}, {0, 0}, {1, 1}), 0);  // the first of equals
}

TEST(ChooseAnswer, CalibratedIsWhatTheTextAdds) {
  // " yes" is likely whatever is read; the text speaks for " no".
  const std::vector<double> without_text = {-0.1, -4};
  EXPECT_EQ(choose_answer("mean", {-0.5, -1}, without_text, {1, 1}), 0);
  EXPECT_EQ(choose_answer("calibrated", {-0.5, -1}, without_text, {1, 1}), 1);
  EXPECT_EQ(choose_answer("calibrated", {-0.5, -1}, without_text, {1, 9}), 1);  // sums
}

TEST(ChooseAnswer, BatchPriorIsTheMeanProbabilityOfAllTexts) {
  // Of two texts: shares .9, .1 and .7, .3, in likelihoods that are e^-1 and e^-2 of those.
  const std::vector<std::vector<double>> texts = {{std::log(0.9) - 1, std::log(0.1) - 1},
                                                  {std::log(0.7) - 2, std::log(0.3) - 2}};
  const std::vector<double> prior = batch_prior(texts);
  EXPECT_NEAR(prior.at(0), std::log(0.8), 1e-12);
  EXPECT_NEAR(prior.at(1), std::log(0.2), 1e-12);
  EXPECT_EQ(choose_answer("mean", texts[1], prior, {1, 1}), 0);
  EXPECT_EQ(choose_answer("batch_calibrated", texts[1], prior, {1, 1}), 1);  // .3 / .2 > .7 / .8
  EXPECT_EQ(choose_answer("batch_calibrated", texts[0], prior, {1, 1}), 0);
  EXPECT_THROWS_WITH(batch_prior({}), "expected at least one text");
}

TEST(ChooseAnswer, RefusesListsThatDiffer) {
  EXPECT_THROWS_WITH(choose_answer("mean", {-1, -2}, {-1}, {1, 1}),
                     "expected an entry for each of 2 classes, got 1 and 2");
}

TaskSuccessReport report_of(const std::vector<TaskAnswers>& rows,
                            const std::vector<int64_t>& labels) {
  TaskSuccessReport report{.classes = {"a", "b", "c"}};
  std::vector<int64_t> documents;
  for (size_t i = 0; i < labels.size(); ++i) documents.push_back(static_cast<int64_t>(i));
  fill_task_statistics(rows, labels, documents,
                       {.text_row = 0, .sender_row = 2, .bootstrap_resamples = 200}, report);
  return report;
}

TEST(TaskStatistics, FiguresAndPairedDifferences) {
  const std::vector<int64_t> labels = {0, 0, 0, 0, 1, 1, 2, 2};
  const TaskSuccessReport report = report_of(
      {{.row = "text", .classes = labels},
       {.row = "linear", .sinks = 4, .wire = "float16", .classes = {0, 0, 0, 1, 1, 2, 2, 2}},
       {.row = "sender", .classes = {0, 0, 0, 0, 0, 0, 0, 0}}},
      labels);
  EXPECT_EQ(report.texts, 8);
  EXPECT_EQ(report.label_counts, (std::vector<int64_t>{4, 2, 2}));
  const TaskSuccessRow& linear = report.rows.at(1);
  EXPECT_DOUBLE_EQ(linear.figures.accuracy.value, 6.0 / 8);
  EXPECT_DOUBLE_EQ(linear.figures.balanced_accuracy.value, (3.0 / 4 + 1.0 / 2 + 1) / 3);
  // F1 by hand: 2 x 3 / (4 + 3), 2 x 1 / (2 + 2), 2 x 2 / (2 + 3).
  EXPECT_DOUBLE_EQ(linear.figures.macro_f1.value, (6.0 / 7 + 1.0 / 2 + 4.0 / 5) / 3);
  EXPECT_EQ(linear.said, (std::vector<int64_t>{3, 2, 3}));
  EXPECT_EQ(linear.wire, "float16");
  EXPECT_DOUBLE_EQ(linear.agreement.value, 6.0 / 8);
  EXPECT_DOUBLE_EQ(report.rows.at(2).agreement.value, 4.0 / 8);
  EXPECT_DOUBLE_EQ(report.rows.at(0).agreement.low, 1);
  // text against sender; linear against both; sender against text.
  ASSERT_EQ(report.differences.size(), 4);
  const TaskSuccessDifference& to_sender = report.differences.at(2);
  EXPECT_EQ(to_sender.row + " " + to_sender.against, "linear sender");
  EXPECT_DOUBLE_EQ(to_sender.figures.accuracy.value, 2.0 / 8);
  EXPECT_EQ(to_sender.only_row_right, 3);
  EXPECT_EQ(to_sender.only_against_right, 1);
  EXPECT_DOUBLE_EQ(to_sender.mcnemar_p, 10.0 / 16);                  // 2 (C(4,0) + C(4,1)) / 2^4
  EXPECT_LT(report.differences.at(1).figures.accuracy.high, 1e-12);  // never better than all right
}

TEST(TaskStatistics, RefusesRowsThatDoNotFit) {
  EXPECT_THROWS_WITH(
      report_of({{.row = "text", .classes = {0, 1}}, {.row = "text", .classes = {0, 1}}}, {0, 1}),
      "two rows are named 'text'");
  EXPECT_THROWS_WITH(report_of({{.row = "text", .classes = {0}}}, {0, 1}),
                     "expected answers int64 [2]");
}

}  // namespace
}  // namespace kvalign
