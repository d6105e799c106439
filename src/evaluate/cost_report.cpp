// See cost_report.h.
#include "kvalign/evaluate/cost_report.h"

#include <nlohmann/json.hpp>

#include "kvalign/evaluate/text_table.h"
#include "number_text.h"
#include "transfer_report.h"

namespace kvalign {

void add_to_json(const CostReport& report, nlohmann::json& json) {
  nlohmann::json cost = to_json(report.setting);
  nlohmann::json rows = nlohmann::json::array(), steps = nlohmann::json::array();
  for (const TransferEstimate& row : report.rows) {
    rows.push_back(to_json(row));
    for (const nlohmann::json& step : steps_to_json(row)) steps.push_back(step);
  }
  cost["prompt_tokens"] = report.prompt_tokens;
  cost["rows"] = std::move(rows);
  cost["steps"] = std::move(steps);
  json["cost"] = std::move(cost);
}

namespace {

TextTable table_of(const CostReport& report) {
  TextTable table(estimate_header());
  for (const TransferEstimate& row : report.rows) table.add(estimate_cells(row));
  return table;
}

std::string title_of(const CostReport& report) {
  return "Estimated cost of a prompt of " + with_commas(report.prompt_tokens) + " tokens";
}

}  // namespace

std::string to_text(const CostReport& report) {
  return title_of(report) + "\n" + table_of(report).aligned() + estimate_notes(report.setting);
}

std::string to_markdown(const CostReport& report) {
  return "## " + title_of(report) + "\n\n" + table_of(report).markdown() + "\n" +
         markdown_list(estimate_notes(report.setting));
}

}  // namespace kvalign
