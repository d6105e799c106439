// Task files: what is written is read, and each way to be wrong is refused by name.
#include "kvalign/dataset/task_file.h"

#include <gtest/gtest.h>

#include "kvalign/core/temporary_folder.h"
#include "tests/support/throws.h"
#include "tests/support/token_file.h"

namespace kvalign {
namespace {

void add_test_words(TestTokens& tokens, const std::string& prefix, int32_t first) {
  tokens.tensors.push_back({prefix + "question.token_ids", at::arange(first, first + 3, at::kInt)});
  tokens.tensors.push_back({prefix + "answers.token_ids", at::arange(first, first + 5, at::kInt)});
  tokens.tensors.push_back(
      {prefix + "answers.offsets", at::tensor(std::vector<int64_t>{0, 1, 5}, at::kLong)});
}

// Three texts of two classes.
TestTokens make_test_task(const std::vector<int64_t>& sender_lengths = {}) {
  TestTokens tokens = make_test_tokens({5, 3, 4}, 64, sender_lengths);
  if (sender_lengths.empty()) {
    add_test_words(tokens, "", 10);
  } else {
    add_test_words(tokens, "sender.", 20);
    add_test_words(tokens, "receiver.", 10);
  }
  tokens.tensors.push_back({"labels", at::tensor(std::vector<int64_t>{0, 1, 1}, at::kLong)});
  tokens.metadata["task"] = {{"question", "Is it?"},
                             {"classes", {"no", "yes"}},
                             {"answers", {" no", " yes, it is"}},
                             {"train_label_counts", {7, 9}}};
  return tokens;
}

TaskFile read_task(const TestTokens& tokens) {
  const TemporaryFolder folder;
  tokens.write(folder.file("t.safetensors"));
  return read_task_file(folder.file("t.safetensors"));
}

TEST(TaskFile, HoldsTextsQuestionAndAnswers) {
  const TaskFile task = read_task(make_test_task());
  EXPECT_EQ(task.texts.num_sequences(), 3);
  EXPECT_EQ(task.texts.labels, (std::vector<int64_t>{0, 1, 1}));
  EXPECT_EQ(task.question, "Is it?");
  EXPECT_EQ(task.classes, (std::vector<std::string>{"no", "yes"}));
  EXPECT_EQ(task.answers.at(1), " yes, it is");
  EXPECT_EQ(task.train_label_counts, (std::vector<int64_t>{7, 9}));
  for (const TaskWords* words : {&task.sender, &task.receiver}) {
    EXPECT_TRUE(words->question.equal(at::arange(10, 13, at::kLong)));
    ASSERT_EQ(words->answers.size(), 2);
    EXPECT_TRUE(words->answers[0].equal(at::arange(10, 11, at::kLong)));
    EXPECT_TRUE(words->answers[1].equal(at::arange(11, 15, at::kLong)));
  }
}

TEST(TaskFile, EachSideHasItsOwnTokens) {
  const TaskFile task = read_task(make_test_task({2, 9, 1}));
  EXPECT_FALSE(task.texts.one_tokenizer);
  EXPECT_TRUE(task.sender.question.equal(at::arange(20, 23, at::kLong)));
  EXPECT_TRUE(task.receiver.question.equal(at::arange(10, 13, at::kLong)));
}

void expect_task_refused(const std::function<void(TestTokens&)>& edit, const std::string& text) {
  TestTokens tokens = make_test_task();
  edit(tokens);
  EXPECT_THROWS_WITH(read_task(tokens), "t.safetensors: " + text);
}

TEST(TaskFile, ItsTextsStandInForATokenFile) {
  const TemporaryFolder folder;
  for (const TestTokens& tokens :
       {make_test_task(), make_test_task({2, 9, 1}), make_test_tokens({5, 3, 4}, 64)}) {
    tokens.write(folder.file("t.safetensors"));
    const TokenFile file = read_task_texts_or_token_file(folder.file("t.safetensors"));
    EXPECT_EQ(file.num_sequences(), 3);
    EXPECT_EQ(file.labels.empty(), tokens.metadata.count("task") == 0);
  }
  EXPECT_THROWS_WITH(read_task_texts_or_token_file(folder.file("none.safetensors")),
                     "none.safetensors");
}

TEST(TaskFile, RefusesATokenFileAndIsNone) {
  TestTokens tokens = make_test_tokens({5, 3}, 64);
  EXPECT_THROWS_WITH(read_task(tokens), "metadata kvalign: missing key \"task\"");
  const TemporaryFolder folder;
  make_test_task().write(folder.file("t.safetensors"));
  EXPECT_THROWS_WITH(read_token_file(folder.file("t.safetensors")), "unknown key \"task\"");
  write_safetensors(folder.file("t.safetensors"), {});
  EXPECT_THROWS_WITH(read_task_file(folder.file("t.safetensors")),
                     "Is it a task file, made by scripts/task_file.py?");
}

TEST(TaskFile, RefusesWrongMetadata) {
  const auto refused = [](const std::string& key, const nlohmann::json& value,
                          const std::string& text) {
    expect_task_refused([&](TestTokens& tokens) { tokens.metadata["task"][key] = value; },
                        "metadata kvalign: task: " + text);
  };
  refused("classes", {"one"}, "classes: expected at least 2 classes, got 1");
  refused("classes", 3, "classes: expected a list of texts, got 3");
  refused("answers", {"a", 4}, "answers: expected a list of texts");
  refused("answers", {"a", "b", "c"}, "answers: expected one entry for each of 2 classes, got 3");
  refused("train_label_counts", {1, -1}, "train_label_counts: expected a list of whole numbers");
  refused("train_label_counts", nlohmann::json::array({1}),
          "train_label_counts: expected one entry for each of 2 classes, got 1");
  refused("extra", 1, "unknown key \"extra\"");
}

TEST(TaskFile, RefusesWrongTensors) {
  expect_task_refused([](auto& t) { t.erase("labels"); },
                      "labels: missing tensor; expected the class of each text");
  expect_task_refused([](auto& t) { t.tensor("labels")[1] = 2; },
                      "labels: expected classes from 0 to 1, got 2");
  expect_task_refused([](auto& t) { t.tensor("question.token_ids") = at::zeros({0}, at::kInt); },
                      "question.token_ids: expected at least one token, got none");
  expect_task_refused([](auto& t) { t.tensor("answers.token_ids")[0] = -3; },
                      "answers.token_ids: expected ids from 0, got -3");
  expect_task_refused(
      [](auto& t) {
        t.tensor("answers.offsets") = at::tensor(std::vector<int64_t>{0, 5}, at::kLong);
      },
      "answers.offsets: expected an answer for each of 2 classes, got 1");
  expect_task_refused([](auto& t) { t.tensor("answers.offsets")[1] = 5; },
                      "answers.offsets: expected to increase strictly, got 5 and then 5");
  expect_task_refused(
      [](auto& t) {
        t.tensors.push_back({"sender.question.token_ids", at::zeros({2}, at::kInt)});
      },
      "sender.question.token_ids: unexpected tensor");
}

}  // namespace
}  // namespace kvalign
