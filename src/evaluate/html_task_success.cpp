// Task success: who answers right. See html_sections.h.
#include <nlohmann/json.hpp>

#include "answer_rule.h"
#include "html_page.h"
#include "html_sections.h"

namespace kvalign {
namespace {

using nlohmann::json;

constexpr const char* kFigures[] = {"accuracy", "balanced_accuracy", "macro_f1"};

// A figure and its interval, in two cells.
void add_interval(const json& figure, std::vector<std::string>& cells) {
  cells.push_back(cell_of(figure, "value"));
  cells.push_back(interval_cell(number_of(figure, "low"), number_of(figure, "high")));
}

// Of the three figures and, where there is one, a fourth.
std::vector<HtmlColumn> figure_columns(std::vector<HtmlColumn> columns, const char* fourth) {
  for (const char* title : {"task success", "balanced accuracy", "macro-F1", fourth}) {
    if (title == nullptr) continue;
    columns.push_back({title, NumberKind::kMeasured});
    columns.push_back({"95 % interval", NumberKind::kStatistical});
  }
  return columns;
}

std::string task_rows_table(const json& task) {
  HtmlTable table(
      "Share of texts answered right, and the same with every class counting alike; the first "
      "checkpoint's row is marked.",
      figure_columns({{"row"}}, "answers as text"));
  for (const json& row : task.at("rows")) {
    std::vector<std::string> cells{row.at("row")};
    for (const char* figure : kFigures) add_interval(row.at(figure), cells);
    add_interval(row.at("agreement"), cells);
    table.add(cells, row.at("row") == task.at("judged"));
  }
  return table.markup();
}

std::string task_differences_table(const json& task) {
  std::vector<HtmlColumn> columns =
      figure_columns({{"row"}, {"against", NumberKind::kText}}, nullptr);
  columns.push_back({"only it right", NumberKind::kMeasured});
  columns.push_back({"only the other right", NumberKind::kMeasured});
  columns.push_back({"McNemar p", NumberKind::kStatistical});
  HtmlTable table("Row minus the other, paired over the texts; above 0 the row is better.",
                  columns);
  for (const json& difference : task.at("differences")) {
    std::vector<std::string> cells{difference.at("row"), difference.at("against")};
    for (const char* figure : kFigures) add_interval(difference.at(figure), cells);
    const json& mcnemar = difference.at("mcnemar");
    for (const char* key : {"only_row_right", "only_against_right", "p"}) {
      cells.push_back(cell_of(mcnemar, key));
    }
    table.add(cells);
  }
  return html_details("Differences of task success", table.markup());
}

std::string task_classes_table(const json& task) {
  HtmlTable table("What is asked: " + task.at("question").dump(),
                  {{"class"}, {"answer", NumberKind::kText}, {"texts", NumberKind::kNone}});
  for (size_t k = 0; k < task.at("classes").size(); ++k) {
    table.add({task.at("classes")[k], task.at("answers")[k], cell_of(task.at("label_counts")[k])});
  }
  return html_details("Classes and answers", table.markup());
}

std::string describe_answers(const json& task) {
  std::string text =
      cell_of(task, "texts") +
      " held-out texts. The sender reads a text; the receiver sees its cache and the "
      "question, and says the class whose answer ";
  text += answer_rule_text(task.at("answer"));
  if (task.at("sinks_show_text").get<bool>()) {
    text += " Exact sinks are tokens of the text itself, which the receiver then sees.";
  }
  return text;
}

}  // namespace

std::string task_success_section(const json& report) {
  if (!report.contains("task_success")) return "";
  const json& task = report.at("task_success");
  return html_section("Task success", html_paragraph(task.at("conclusion")) +
                                          html_paragraph(describe_answers(task)) +
                                          task_rows_table(task) +
                                          html_row_texts(task.at("rows"), {}) +
                                          task_differences_table(task) + task_classes_table(task));
}

}  // namespace kvalign
