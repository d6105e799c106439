// What task heads say of the rows' caches, before and after fine-tuning. See html_sections.h.
#include <nlohmann/json.hpp>

#include "html_page.h"
#include "html_sections.h"
#include "task_head_text.h"

namespace kvalign {
namespace {

using nlohmann::json;

constexpr const char* kScores[] = {"accuracy", "balanced_accuracy", "macro_f1"};

// One column of names, then a score and its interval three times.
HtmlTable score_columns(const std::string& caption, const std::string& names) {
  std::vector<HtmlColumn> columns{{names}};
  for (const char* title : {"accuracy", "balanced accuracy", "macro-F1"}) {
    columns.push_back({title, NumberKind::kMeasured});
    columns.push_back(html_interval_column());
  }
  return HtmlTable(caption, columns);
}

// Old reports know accuracy alone.
void add_head_scores(HtmlTable& table, const std::string& name, const json& scores) {
  std::vector<std::string> cells{name};
  for (const char* score : kScores) add_interval_cells(cells, scores.value(score, json::object()));
  table.add(cells);
}

// The scores that `task` keeps for "true_cache" or "majority_class".
json summary_scores(const json& task, const char* of) {
  json scores = {{"accuracy", task.at(of)}};
  for (const char* score : {"balanced_accuracy", "macro_f1"}) {
    if (task.contains(score)) scores[score] = task.at(score).at(of);
  }
  return scores;
}

std::string head_scores_table(const json& task, const json& rows) {
  HtmlTable table = score_columns(
      "How well the labels are told by a linear head on the mean of a cache: one that was trained "
      "on true receiver caches, and a fine-tuned checkpoint's own.",
      "caches and head");
  add_head_scores(table, "true cache", summary_scores(task, "true_cache"));
  add_head_scores(table, "commonest label", summary_scores(task, "majority_class"));
  for (const json& row : rows) {
    if (!row.contains("task")) continue;
    const std::string name = row.at("row");
    const json& scores = row.at("task");
    add_head_scores(table, name, scores);
    if (!scores.contains("own_head")) continue;
    add_head_scores(table, name + ", own head", scores.at("own_head"));
    add_head_scores(table, "true cache, head of " + name, scores.at("own_head").at("true_cache"));
  }
  return table.markup();
}

std::string agreement_table(const json& rows) {
  HtmlTable table("Whether the head of the true caches says the same of the rows' caches.",
                  {{"row"},
                   {"accuracy minus true cache", NumberKind::kMeasured},
                   html_interval_column(),
                   {"labelled unlike on the true cache", NumberKind::kMeasured},
                   html_interval_column()});
  for (const json& row : rows) {
    if (!row.contains("task")) continue;
    std::vector<std::string> cells{row.at("row")};
    for (const char* key : {"accuracy_difference", "disagreement"}) {
      add_interval_cells(cells, row.at("task").at(key));
    }
    table.add(cells);
  }
  return table.markup();
}

std::string gains_table(const json& task) {
  if (!task.contains("gains")) return "";
  HtmlTable table = score_columns(
      "Fine-tuning: the row with its own head minus the named caches with the head of the true "
      "ones; paired, an interval without 0 is a difference.",
      "difference");
  for (const json& gain : task.at("gains")) {
    add_head_scores(table, gain_name(gain.at("row"), gain.at("against")), gain);
  }
  return table.markup();
}

}  // namespace

std::string task_tables(const json& report) {
  if (!report.contains("task")) return "";
  const json& task = report.at("task");
  const json& rows = report.at("reconstruction").at("rows");
  return html_heading("Task agreement, " + cell_of(task, "num_classes") + " classes") +
         head_scores_table(task, rows) + agreement_table(rows) + gains_table(task);
}

}  // namespace kvalign
