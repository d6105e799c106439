// A task file: labelled texts, a question that is asked after each, and an answer for every class;
// made by scripts/task_file.py. A token file (token_file.h) whose sequences are the whole texts,
// with labels, and besides:
//
//   question.token_ids [Q] I32, answers.token_ids [A] I32, answers.offsets [K + 1] I64
//   with two tokenisers: sender.question.token_ids, ..., receiver.answers.offsets
//   metadata `kvalign` has one more key, "task": {"question", "classes": [K names], "answers": [K
//   texts], "train_label_counts": [K, how many of the source's other texts are of each class]}
//
// A text goes on with the question's tokens and then with those of an answer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kvalign/dataset/token_file.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// Question and answers in the tokens of one of the models.
struct TaskWords {
  at::Tensor question;              ///< [Q] int64, at least one
  std::vector<at::Tensor> answers;  ///< [K] of int64 [A_k], at least one each
};

struct KVALIGN_API TaskFile {
  TokenFile texts;  ///< held out; its labels are classes from 0 to K - 1
  TaskWords sender, receiver;
  std::string question;
  std::vector<std::string> classes, answers;  ///< [K]
  std::vector<int64_t> train_label_counts;    ///< [K]
  int64_t num_classes() const { return static_cast<int64_t>(classes.size()); }
};

/// Checks every rule above. Throws as read_token_file.
KVALIGN_API TaskFile read_task_file(const std::filesystem::path& path);

/// The texts of a task file, or the sequences of a token file. Throws as read_token_file.
KVALIGN_API TokenFile read_task_texts_or_token_file(const std::filesystem::path& path);

}  // namespace kvalign
