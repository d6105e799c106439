// A task for a tiny ladder: random texts of different lengths, a question and three answers.
#pragma once

#include <string>

#include "kvalign/evaluate/task_success.h"
#include "tests/evaluate/tiny_ladder.h"

namespace kvalign::testing {

class TinyTask {
 public:
  static constexpr int64_t kTexts = 8, kClasses = 3;

  /// Names of tests/golden/decoder. Texts of 9 to 16 tokens (the sender's: 12 to 19), labels 0, 1,
  /// 2, 0, ..; the first text is one that training has seen, the last has 2 tokens; the answers
  /// have 1, 3 and 2 tokens.
  TinyTask(const std::string& sender, const std::string& receiver, bool one_tokenizer = true);

  TaskSuccess open() const {
    return TaskSuccess::open(ladder.recipe, ladder.evaluate, ladder.options, options);
  }

  TinyLadder ladder;
  TaskSuccessOptions options;

 private:
  void write_task(bool one_tokenizer);
};

/// Throws std::runtime_error where the report has no such row.
const TaskSuccessRow& row_of(const TaskSuccessReport& report, const std::string& name);

}  // namespace kvalign::testing
