// Task success: the sender reads a text, the receiver gets its cache and a question, and the class
// whose answer it finds most likely is what it says. The same after every kind of cache that the
// ladder has with exact sinks and nothing re-read; beside it the receiver that reads everything
// itself, the sender that answers alone, and who always says the commonest class. Trains nothing;
// writes task.jsonl, from which a stopped run goes on, and nothing else.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kvalign/evaluate/evaluate.h"
#include "kvalign/evaluate/evaluate_options.h"
#include "kvalign/evaluate/identity_gate.h"
#include "kvalign/evaluate/ladder_options.h"
#include "kvalign/evaluate/task_success_options.h"
#include "kvalign/evaluate/task_success_report.h"
#include "kvalign/format/export.h"
#include "kvalign/train/recipe.h"

namespace kvalign {

struct TaskSetup;

class KVALIGN_API TaskSuccess {
 public:
  /// Opens models, dataset, task file, checkpoints and text classifiers, and checks that they
  /// belong together; texts that training or validation has seen, or with fewer tokens than the
  /// sinks and one more (or 3), are left out. Of `ladder` it takes sender, receiver, sinks, wire
  /// and gate_tokens. Throws as Ladder::open, and std::runtime_error for text classifiers of
  /// another task file.
  static TaskSuccess open(const Recipe& recipe, const EvaluateOptions& evaluate,
                          const LadderOptions& ladder, const TaskSuccessOptions& options,
                          const EvaluateProgress& progress = nullptr);
  ~TaskSuccess();
  TaskSuccess(TaskSuccess&&) noexcept;

  /// As Ladder::check_identity, on the task's texts.
  std::vector<GateResult> check_identity(const CacheTransport& transport = transport_by_file,
                                         const EvaluateProgress& progress = nullptr) const;

  /// Asks about all texts, those that `evaluate.output`/task.jsonl does not hold yet.
  /// `stop_requested` is asked before each text.
  TaskSuccessReport measure(const EvaluateProgress& progress = nullptr,
                            const std::function<bool()>& stop_requested = nullptr) const;

 private:
  explicit TaskSuccess(std::unique_ptr<const TaskSetup> setup);
  std::unique_ptr<const TaskSetup> setup_;
};

}  // namespace kvalign
