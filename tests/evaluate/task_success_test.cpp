// Task success on tiny random models: rows that must agree do, likelihoods are those of plain
// passes, runs resume, and what does not belong together is refused.
#include "kvalign/evaluate/task_success.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "kvalign/core/files.h"
#include "kvalign/core/sha256.h"
#include "kvalign/dataset/task_file.h"
#include "kvalign/model/decoder.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tests/evaluate/tiny_task.h"
#include "tests/support/throws.h"

namespace kvalign::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

std::vector<std::string> names_of(const TaskSuccessReport& report) {
  std::vector<std::string> names;
  for (const TaskSuccessRow& row : report.rows) names.push_back(row.row);
  return names;
}

// Lines of task.jsonl after its first.
std::vector<nlohmann::json> stored_lines(const TinyTask& tiny) {
  std::istringstream text(read_file(tiny.ladder.evaluate.output + "/task.jsonl"));
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  lines.erase(lines.begin());
  return lines;
}

// What task.jsonl has of the row whose key begins with `row`.
std::vector<double> stored_row(const nlohmann::json& line, const std::string& row) {
  for (const auto& item : line.at("rows").items()) {
    if (item.key().starts_with(row + ", sinks")) return item.value();
  }
  throw std::runtime_error("no row " + row);
}

TEST(TaskSuccess, RowsAndWhatIsLeftOut) {
  TinyTask tiny("llama", "qwen3");
  const std::string path = tiny.ladder.folder.file("checkpoint.safetensors");
  tiny.ladder.evaluate.checkpoints.push_back("FP8=" + path + "@float8_e4m3fn/token");
  const TaskSuccessReport report = tiny.open().measure();
  EXPECT_THAT(names_of(report), ElementsAre("text", "true cache", "linear + sinks", "FP8 + sinks",
                                            "wrong document + sinks", "sinks alone", "no cache",
                                            "sender alone", "majority class"));
  EXPECT_EQ(report.texts, 6);
  EXPECT_EQ(report.left_out_seen, 1);
  EXPECT_EQ(report.left_out_short, 1);
  EXPECT_EQ(report.label_counts, (std::vector<int64_t>{2, 2, 2}));
  EXPECT_DOUBLE_EQ(report.text_tokens, (10 + 11 + 12 + 13 + 14 + 15) / 6.0);
  EXPECT_TRUE(report.sinks_show_text);
  EXPECT_EQ(report.judged, "linear + sinks");
  EXPECT_EQ(row_of(report, "FP8 + sinks").wire, "float8_e4m3fn/token");
  EXPECT_EQ(row_of(report, "majority class").said, (std::vector<int64_t>{0, 6, 0}));
  EXPECT_DOUBLE_EQ(row_of(report, "majority class").figures.balanced_accuracy.value, 1.0 / 3);
  EXPECT_DOUBLE_EQ(row_of(report, "true cache").agreement.value, 1);
  EXPECT_EQ(report.differences.size(), 2 * report.rows.size() - 2);
}

// Every likelihood of a row against one pass over all tokens of that row.
TEST(TaskSuccess, LikelihoodsAreThoseOfPlainPasses) {
  TinyTask tiny("llama", "qwen3");
  tiny.ladder.evaluate.output = tiny.ladder.folder.file("out");
  tiny.open().measure();
  const TaskFile task = read_task_file(tiny.options.file);
  const Decoder receiver = Decoder::load(tiny.ladder.options.receiver);
  const Decoder sender = Decoder::load(tiny.ladder.options.sender);
  const at::NoGradGuard no_gradients;
  const std::vector<nlohmann::json> lines = stored_lines(tiny);
  ASSERT_EQ(lines.size(), 6);
  for (const nlohmann::json& line : lines) {
    const at::Tensor text = task.texts.receiver.sequence(line.at("text")).token_ids.to(at::kLong);
    const auto expect_row = [&](const char* row, const Decoder& decoder, const at::Tensor& read) {
      const std::vector<double> got = stored_row(line, row);
      for (size_t k = 0; k < 3; ++k) {
        const at::Tensor& answer = task.receiver.answers[k];
        const at::Tensor all = at::cat({read, task.receiver.question, answer});
        const at::Tensor logits_TV =
            decoder.forward({.token_ids_BT = all.unsqueeze(0)}).logits_BTV[0];
        const int64_t count = answer.size(0), last = all.size(0) - 1;
        const double expected = logits_TV.narrow(0, last - count, count)
                                    .log_softmax(1)
                                    .gather(1, answer.unsqueeze(1))
                                    .sum()
                                    .item<double>();
        EXPECT_NEAR(got[k], expected, 1e-4) << row << " " << k;
      }
    };
    expect_row("text", receiver, text);
    expect_row("true cache", receiver, text);
    expect_row("sinks alone", receiver, text.narrow(0, 0, 2));
    expect_row("no cache", receiver, text.narrow(0, 0, 0));
    expect_row("sender alone", sender, text);
  }
}

// Sender and receiver are one model and the projector is the identity.
TEST(TaskSuccess, IdentityProjectionOfOneModelAnswersAsTheTrueCache) {
  TinyTask tiny("llama", "llama");
  tiny.ladder.save_checkpoint_of(/*identity=*/true);
  tiny.ladder.evaluate.output = tiny.ladder.folder.file("out");
  const TaskSuccessReport report = tiny.open().measure();
  bool wrong_document_differs = false;
  for (const nlohmann::json& line : stored_lines(tiny)) {
    const std::vector<double> text = stored_row(line, "text");
    for (const char* row : {"linear + sinks", "sender alone"}) {
      for (size_t k = 0; k < 3; ++k) EXPECT_NEAR(stored_row(line, row)[k], text[k], 1e-4) << row;
    }
    wrong_document_differs |=
        std::abs(stored_row(line, "wrong document + sinks")[0] - text[0]) > 1e-3;
  }
  EXPECT_TRUE(wrong_document_differs);
  EXPECT_DOUBLE_EQ(row_of(report, "linear + sinks").agreement.value, 1);
  EXPECT_EQ(report.differences.at(2).figures.accuracy.value, 0);
}

TEST(TaskSuccess, TwoTokenizersAndTheIdentityGate) {
  for (const bool one_tokenizer : {true, false}) {
    const TinyTask tiny("llama", "qwen3", one_tokenizer);
    const TaskSuccess task = tiny.open();
    for (const GateResult& gate : task.check_identity()) EXPECT_TRUE(gate.passed) << gate.why;
    EXPECT_EQ(task.measure().texts, 6);
  }
}

TEST(TaskSuccess, WithoutSinksNothingOfTheTextIsSeen) {
  TinyTask tiny("llama", "qwen3");
  tiny.ladder.options.sinks = 0;
  const TaskSuccessReport report = tiny.open().measure();
  EXPECT_FALSE(report.sinks_show_text);
  EXPECT_THAT(names_of(report), ElementsAre("text", "true cache", "linear", "wrong document",
                                            "no cache", "sender alone", "majority class"));
}

TEST(TaskSuccess, CalibratedAnswersOfNoTextAreTheFirst) {
  TinyTask tiny("llama", "qwen3");
  tiny.options.answer = "calibrated";
  const TaskSuccessReport report = tiny.open().measure();
  EXPECT_EQ(row_of(report, "no cache").said, (std::vector<int64_t>{6, 0, 0}));
}

TEST(TaskSuccess, BatchCalibratedAnswersOfNoTextAreOfOneClass) {
  TinyTask tiny("llama", "qwen3");
  tiny.options.answer = "batch_calibrated";  // of rows that know no text, all texts are alike
  const TaskSuccessReport report = tiny.open().measure();
  EXPECT_EQ(report.answer, "batch_calibrated");
  EXPECT_THAT(row_of(report, "no cache").said, Contains(6));
  EXPECT_THAT(row_of(report, "text").said, Not(Contains(6)));  // its prior is that of its answers
}

TEST(TaskSuccess, AStoppedRunGoesOn) {
  TinyTask tiny("llama", "qwen3");
  const TaskSuccessReport whole = tiny.open().measure();
  tiny.ladder.evaluate.output = tiny.ladder.folder.file("out");
  int texts = 0;
  EXPECT_TRUE(tiny.open().measure(nullptr, [&] { return ++texts > 2; }).interrupted);
  EXPECT_EQ(stored_lines(tiny).size(), 2);
  const TaskSuccessReport resumed = tiny.open().measure();
  EXPECT_EQ(stored_lines(tiny).size(), 6);
  ASSERT_EQ(names_of(resumed), names_of(whole));
  for (size_t i = 0; i < whole.rows.size(); ++i)
    EXPECT_EQ(resumed.rows[i].said, whole.rows[i].said);
  // Another row alone is asked about; another rule needs no model at all.
  const std::string path = tiny.ladder.folder.file("checkpoint.safetensors");
  tiny.ladder.evaluate.checkpoints.push_back("again=" + path);
  tiny.open().measure();
  const std::vector<nlohmann::json> lines = stored_lines(tiny);
  ASSERT_EQ(lines.size(), 12);
  EXPECT_EQ(lines.back().at("rows").size(), 1);
  tiny.options.answer = "calibrated";
  tiny.options.texts = 3;
  EXPECT_EQ(tiny.open().measure(nullptr, [] { return true; }).texts, 3);
}

TEST(TaskSuccess, TextClassifiersAreRowsOfTheTextsThatAreAsked) {
  TinyTask tiny("llama", "qwen3");
  nlohmann::json classifier = {
      {"row", "TF-IDF"}, {"text", "words"}, {"answers", {0, 1, 2, 0, 1, 2, 1, 0}}};
  nlohmann::json json = {{"schema", 1},
                         {"task_sha256", sha256_of_file(tiny.options.file)},
                         {"classifiers", {classifier}}};
  const std::string path = tiny.ladder.folder.file("classifiers.json");
  tiny.options.text_classifiers = path;
  write_file_atomically(path, json.dump());
  const TaskSuccessReport report = tiny.open().measure();
  EXPECT_EQ(report.rows.back().row, "TF-IDF");
  EXPECT_DOUBLE_EQ(report.rows.back().figures.accuracy.value, 5.0 / 6);  // texts 1 to 6
  const auto refused = [&](auto change, const char* text) {
    nlohmann::json changed = json;
    change(changed);
    write_file_atomically(path, changed.dump());
    EXPECT_THROWS_WITH(tiny.open(), "task.text_classifiers: " + path + ": ");
    EXPECT_THROWS_WITH(tiny.open(), text);
  };
  refused([](auto& j) { j["task_sha256"] = "0"; }, "it is about another task file (SHA-256 0)");
  refused([](auto& j) { j["classifiers"][0]["answers"][3] = 3; },
          "expected answers from 0 to 2, got 3");
  refused(
      [](auto& j) {
        j["classifiers"][0]["answers"] = {0, 1, 2};
      },
      "expected an answer to each text of the task file, got 3");
  refused([](auto& j) { j.erase("classifiers"); }, "key 'classifiers' not found");
}

TEST(TaskSuccess, RefusesWhatDoesNotBelongTogether) {
  TinyTask tiny("llama", "qwen3");
  tiny.ladder.options.sender.clear();
  EXPECT_THROWS_WITH(tiny.open(), "task: expected ladder.sender and ladder.receiver");
  TinyTask strange("llama", "qwen3");
  strange.options.file = strange.ladder.options.tokens;
  EXPECT_THROWS_WITH(strange.open(), "missing key \"task\"");
  TinyTask few("llama", "qwen3");
  few.ladder.options.sinks = 14;
  EXPECT_THROWS_WITH(few.open(),
                     "expected at least 2 held-out texts, got 1; 1 are texts that training or "
                     "validation has seen, 6 have fewer than 15 tokens");
  TinyTask other("llama", "qwen3");
  other.ladder.options.receiver = other.ladder.options.sender;
  EXPECT_THROWS_WITH(other.open(), "is not the model of the dataset");
}

TEST(TaskSuccess, RefusesCachesThatAreNotFinite) {
  TinyTask tiny("llama", "qwen3");
  const std::string path = tiny.ladder.folder.file("checkpoint.safetensors");
  Checkpoint checkpoint = load_checkpoint(path);
  const at::NoGradGuard no_gradients;
  for (at::Tensor& parameter : checkpoint.projector->projector().parameters()) {
    parameter.fill_(std::numeric_limits<float>::max());
  }
  save_checkpoint(path, checkpoint);
  EXPECT_THROWS_WITH(tiny.open().measure(),
                     "the row 'linear + sinks' answers with likelihoods that are not finite on "
                     "text 1");
}

}  // namespace
}  // namespace kvalign::testing
