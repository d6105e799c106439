// Task success for people: a table for a terminal, a section of report.md, one sentence. See
// task_success_report.h.
#include <c10/util/StringUtil.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "answer_rule.h"
#include "kvalign/evaluate/task_success_report.h"
#include "kvalign/evaluate/text_table.h"
#include "number_text.h"

namespace kvalign {
namespace {

std::string interval_text(const Interval& interval) {
  const auto two_digits = [](double value) {
    return std::isfinite(value) ? c10::str(std::round(1000 * value) / 10) : std::string("-");
  };
  if (!std::isfinite(interval.low)) return two_digits(interval.value);
  return c10::str(two_digits(interval.value), " [", two_digits(interval.low), ", ",
                  two_digits(interval.high), "]");
}

TextTable rows_table(const TaskSuccessReport& report) {
  TextTable table({"row", "success %", "balanced accuracy %", "macro-F1 %", "answers as text %"});
  for (const TaskSuccessRow& row : report.rows) {
    table.add({row.row, interval_text(row.figures.accuracy),
               interval_text(row.figures.balanced_accuracy), interval_text(row.figures.macro_f1),
               interval_text(row.agreement)});
  }
  return table;
}

std::string compared_table(const TaskSuccessReport& report) {
  TextTable table({"row", "against", "success", "balanced accuracy", "macro-F1", "only it right",
                   "only the other right", "McNemar p"});
  for (const TaskSuccessDifference& one : report.differences) {
    table.add({one.row, one.against, interval_text(one.figures.accuracy),
               interval_text(one.figures.balanced_accuracy), interval_text(one.figures.macro_f1),
               std::to_string(one.only_row_right), std::to_string(one.only_against_right),
               format_short(one.mcnemar_p)});
  }
  return table.markdown();
}

std::string describe_texts(const TaskSuccessReport& report) {
  std::string text =
      c10::str(report.texts, " held-out texts of ", report.classes.size(), " classes, ",
               std::round(report.text_tokens), " tokens a text, then the question ",
               nlohmann::json(report.question).dump(), ". Left out: ", report.left_out_seen,
               " that the fit has seen, ", report.left_out_short, " with too few tokens.\n");
  text += "Answer: the class whose answer " + answer_rule_text(report.answer) + "\n";
  if (report.sinks_show_text) {
    text += "Exact sinks are tokens of the text itself, which the receiver then sees.\n";
  }
  return text +
         "Success: share of texts answered right. Intervals: 95 %, percentile bootstrap over the "
         "texts.\n";
}

std::string describe_checks(const TaskSuccessReport& report) {
  std::string text;
  for (const GateResult& gate : report.gates) {
    text += std::string(gate.passed ? "Passed: " : "FAILED: ") + gate.why + ".\n";
  }
  for (const std::string& warning : report.warnings) text += "Warning: " + warning + "\n";
  return text;
}

const TaskSuccessRow* find_row(const TaskSuccessReport& report, const std::string& name) {
  const auto found = std::find_if(report.rows.begin(), report.rows.end(),
                                  [&](const TaskSuccessRow& row) { return row.row == name; });
  return found == report.rows.end() ? nullptr : &*found;
}

std::string compared_with(const TaskSuccessReport& report, const std::string& against) {
  const auto found =
      std::find_if(report.differences.begin(), report.differences.end(),
                   [&](const TaskSuccessDifference& difference) {
                     return difference.row == report.judged && difference.against == against;
                   });
  const TaskSuccessRow* other = find_row(report, against);
  if (found == report.differences.end() || other == nullptr) return "";
  const Interval& difference = found->figures.accuracy;
  const char* verdict = difference.low > 0    ? "better"
                        : difference.high < 0 ? "worse"
                                              : "not told apart";
  return c10::str("; ", against, " ", interval_text({.value = other->figures.accuracy.value}),
                  " %, difference ", interval_text(difference), " points (", verdict, ")");
}

}  // namespace

std::string conclusion(const TaskSuccessReport& report) {
  const TaskSuccessRow* row = find_row(report, report.judged);
  if (row == nullptr) return "";
  return c10::str(row->row, " answers ", interval_text({.value = row->figures.accuracy.value}),
                  " % of the texts right", compared_with(report, "text"),
                  compared_with(report, "sender alone"), ".");
}

std::string to_text(const TaskSuccessReport& report) {
  return rows_table(report).aligned() + "\n" + describe_texts(report) + describe_checks(report) +
         conclusion(report) + "\n";
}

std::string to_markdown(const TaskSuccessReport& report) {
  std::string text = "# Task success: " + report.sender + " to " + report.receiver + "\n\n" +
                     rows_table(report).markdown() + "\n" + conclusion(report) + "\n\n" +
                     markdown_list(describe_texts(report) + describe_checks(report));
  for (const TaskSuccessRow& row : report.rows) text += "- `" + row.row + "`: " + row.text + "\n";
  for (size_t k = 0; k < report.classes.size(); ++k) {
    text += c10::str("- Class ", report.classes[k], ": \"", report.answers[k], "\", ",
                     report.label_counts[k], " texts\n");
  }
  text += "- Task file: `" + report.file + "`, SHA-256 " + report.file_sha256 + "\n";
  return text +
         "\n## Differences of task success\n\nIn points of 100, paired over the texts; above 0 the "
         "row is better. McNemar's exact test counts texts.\n\n" +
         compared_table(report);
}

}  // namespace kvalign
