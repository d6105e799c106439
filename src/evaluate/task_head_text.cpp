// Tables of task heads. See task_head_text.h.
#include "task_head_text.h"

#include "kvalign/evaluate/text_table.h"
#include "number_text.h"

namespace kvalign {
namespace {

std::vector<std::string> score_cells(const std::string& name,
                                     const ClassificationIntervals& scores) {
  return {name, format_interval(scores.accuracy), format_interval(scores.balanced_accuracy),
          format_interval(scores.macro_f1)};
}

std::string describe_task(const TaskSummary& task) {
  return "Task: a linear head on the mean of the true receiver cache, " +
         std::to_string(task.num_classes) + " classes; accuracy on true caches " +
         format_interval(task.true_cache.accuracy) + ", commonest label " +
         format_interval(task.majority_class.accuracy) + ".\n";
}

TextTable head_score_table(const Report& report) {
  TextTable table({"caches and head", "accuracy", "balanced accuracy", "macro-F1",
                   "minus true cache", "labelled unlike on the true cache"});
  const auto add_scores = [&](const std::string& name, const ClassificationIntervals& scores) {
    std::vector<std::string> cells = score_cells(name, scores);
    cells.resize(6, "-");
    table.add(cells);
  };
  add_scores("true cache", report.task->true_cache);
  add_scores("commonest label", report.task->majority_class);
  for (const ReportRow& row : report.rows) {
    if (!row.task) continue;
    std::vector<std::string> cells = score_cells(row.row, row.task->scores);
    cells.push_back(format_interval(row.task->accuracy_difference));
    cells.push_back(format_interval(row.task->disagreement));
    table.add(cells);
    if (!row.task->own_head) continue;
    add_scores(row.row + ", own head", row.task->own_head->projected);
    add_scores("true cache, head of " + row.row, row.task->own_head->true_cache);
  }
  return table;
}

TextTable gain_table(const TaskSummary& task) {
  TextTable table({"own head minus true cache's", "accuracy", "balanced accuracy", "macro-F1"});
  for (const FineTuningGain& gain : task.gains) {
    table.add(score_cells(gain_name(gain.row, gain.against), gain.gain));
  }
  return table;
}

constexpr const char* kGains =
    "Fine-tuning: the row with its own head minus the named caches with the head of the true "
    "ones; paired, an interval without 0 is a difference.\n";

}  // namespace

std::string gain_name(const std::string& row, const std::string& against) {
  return row + " minus " + (row == against ? "the true caches' head on it" : against);
}

std::string task_head_text(const Report& report) {
  if (!report.task) return "";
  std::string text = describe_task(*report.task) + "\n" + head_score_table(report).aligned() + "\n";
  if (!report.task->gains.empty()) {
    text += kGains + ("\n" + gain_table(*report.task).aligned()) + "\n";
  }
  return text;
}

std::string task_head_markdown(const Report& report) {
  if (!report.task) return "";
  std::string text = "\n## Task agreement\n\n" + describe_task(*report.task) + "\n" +
                     head_score_table(report).markdown();
  if (!report.task->gains.empty()) {
    text += "\n" + (kGains + ("\n" + gain_table(*report.task).markdown()));
  }
  return text;
}

}  // namespace kvalign
