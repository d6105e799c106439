// Everything that task success reads, opened and checked. Private to evaluate/.
#pragma once

#include <memory>
#include <vector>

#include "kvalign/dataset/task_file.h"
#include "kvalign/evaluate/task_success_options.h"
#include "kvalign/evaluate/task_success_statistics.h"
#include "ladder_rows.h"
#include "ladder_setup.h"

namespace kvalign {

struct TaskSetup {
  TaskSuccessOptions options = {};
  TaskFile task = {};
  // Its texts are the task's: a prefix that ends with the question's first token, so that a cache
  // covers the text; the receiver's go on to the question's end.
  std::unique_ptr<const LadderSetup> ladder = {};
  std::vector<LadderRowPlan> plans = {};
  std::vector<TaskAnswers> text_classifiers = {};  // of the texts of `ladder`
  bool sinks_show_text = false;
};

// Errors: see TaskSuccess::open.
std::unique_ptr<const TaskSetup> set_up_task(const Recipe& recipe, const EvaluateOptions& evaluate,
                                             const LadderOptions& ladder,
                                             const TaskSuccessOptions& options,
                                             const EvaluateProgress& progress);

}  // namespace kvalign
