// The forms of a task's report: what they hold, and one sentence about it.
#include "kvalign/evaluate/task_success_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace kvalign {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ClassificationIntervals figures_around(double value) {
  const Interval interval{.value = value, .low = value - 0.05, .high = value + 0.05};
  return {interval, interval, {.value = value}};
}

TaskSuccessReport three_task_rows() {
  return {.file = "sms.safetensors",
          .file_sha256 = "abc",
          .sender = "small",
          .receiver = "large",
          .question = "\nIs it spam?",
          .classes = {"ham", "spam"},
          .answers = {" no", " yes"},
          .label_counts = {20, 20},
          .answer = "mean",
          .texts = 40,
          .text_tokens = 31.4,
          .sinks_show_text = true,
          .gates = {{.side = "receiver", .passed = true, .why = "it is the same"}},
          .rows = {{.row = "text", .text = "reads", .figures = figures_around(0.9)},
                   {.row = "V1",
                    .text = "linear",
                    .sinks = 4,
                    .wire = "float16",
                    .figures = figures_around(0.8),
                    .agreement = {.value = 0.85},
                    .said = {24, 16}},
                   {.row = "sender alone", .figures = figures_around(0.7)}},
          .differences = {{.row = "V1",
                           .against = "text",
                           .figures = figures_around(-0.1),
                           .only_row_right = 1,
                           .only_against_right = 5,
                           .mcnemar_p = 0.21875},
                          {.row = "V1", .against = "sender alone", .figures = figures_around(0.1)}},
          .judged = "V1",
          .warnings = {"odd"}};
}

TEST(TaskSuccessReport, ConclusionSaysBothDifferences) {
  TaskSuccessReport report = three_task_rows();
  EXPECT_EQ(
      conclusion(report),
      "V1 answers 80 % of the texts right; text 90 %, difference -10 [-15, -5] points (worse); "
      "sender alone 70 %, difference 10 [5, 15] points (better).");
  report.differences[1].figures.accuracy.low = -0.01;
  EXPECT_THAT(conclusion(report), HasSubstr("difference 10 [-1, 15] points (not told apart)."));
  report.rows.clear();
  EXPECT_EQ(conclusion(report), "");
}

TEST(TaskSuccessReport, TextAndMarkdown) {
  TaskSuccessReport report = three_task_rows();
  const std::string text = to_text(report);
  EXPECT_THAT(text, HasSubstr("V1            80 [75, 85]"));
  EXPECT_THAT(text, HasSubstr("40 held-out texts of 2 classes, 31 tokens a text, then the question "
                              "\"\\nIs it spam?\""));
  EXPECT_THAT(text, HasSubstr("highest log-likelihood a token"));
  EXPECT_THAT(text, HasSubstr("Exact sinks are tokens of the text itself"));
  EXPECT_THAT(text, HasSubstr("Passed: it is the same."));
  EXPECT_THAT(text, HasSubstr("Warning: odd"));
  const std::string markdown = to_markdown(report);
  EXPECT_THAT(markdown, HasSubstr("# Task success: small to large"));
  EXPECT_THAT(markdown, HasSubstr("- Class spam: \" yes\", 20 texts"));
  EXPECT_THAT(markdown, HasSubstr("| V1 | text | -10 [-15, -5] | -10 [-15, -5] | -10 | 1 | 5 |"));
  report.answer = "calibrated";
  report.sinks_show_text = false;
  EXPECT_THAT(to_text(report), HasSubstr("gains most log-likelihood over the question"));
  EXPECT_THAT(to_text(report), Not(HasSubstr("Exact sinks are")));
}

TEST(TaskSuccessReport, Json) {
  nlohmann::json json;
  add_to_json(three_task_rows(), json);
  const nlohmann::json& task = json.at("task_success");
  EXPECT_EQ(task.at("rows")[1].at("accuracy").at("low"), 0.8 - 0.05);
  EXPECT_TRUE(task.at("rows")[1].at("macro_f1").at("low").is_null());
  EXPECT_TRUE(task.at("rows")[0].at("wire").is_null());
  EXPECT_EQ(task.at("differences")[0].at("mcnemar").at("only_against_right"), 5);
  EXPECT_EQ(task.at("identity")[0].at("why"), "it is the same");
}

}  // namespace
}  // namespace kvalign
