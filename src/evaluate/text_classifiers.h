// Answers of classifiers that read a task's texts without a language model: what
// scripts/task_baselines.py writes. Private to evaluate/.
//
//   {"schema": 1, "task_sha256", "classifiers": [{"row", "text", "answers": [a class, from 0, of
//   each text of the task file]}], ...}
#pragma once

#include <string>
#include <vector>

#include "kvalign/evaluate/task_success_statistics.h"
#include "ladder_setup.h"

namespace kvalign {

// Those of the setup's texts, in their order; none for an empty path. Throws std::runtime_error
// naming the file for other JSON, another task file, and answers that are not one class a text.
std::vector<TaskAnswers> read_text_classifiers(const std::string& path, const LadderSetup& setup,
                                               int64_t num_classes);

}  // namespace kvalign
