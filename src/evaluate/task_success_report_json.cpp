// The key of report.json that task success has. See task_success_report.h.
#include <nlohmann/json.hpp>

#include "json_parts.h"
#include "kvalign/evaluate/task_success_report.h"

namespace kvalign {
namespace {

using nlohmann::json;

json figures_json(const ClassificationIntervals& figures) {
  return {{"accuracy", to_json(figures.accuracy)},
          {"balanced_accuracy", to_json(figures.balanced_accuracy)},
          {"macro_f1", to_json(figures.macro_f1)}};
}

json row_json(const TaskSuccessRow& row) {
  json result = figures_json(row.figures);
  result["row"] = row.row;
  result["text"] = row.text;
  result["sinks"] = row.sinks;
  result["wire"] = row.wire.empty() ? json(nullptr) : json(row.wire);
  result["agreement"] = to_json(row.agreement);
  result["said"] = row.said;
  return result;
}

json difference_json(const TaskSuccessDifference& difference) {
  json result = figures_json(difference.figures);
  result["row"] = difference.row;
  result["against"] = difference.against;
  result["mcnemar"] = {{"only_row_right", difference.only_row_right},
                       {"only_against_right", difference.only_against_right},
                       {"p", number(difference.mcnemar_p)}};
  return result;
}

}  // namespace

void add_to_json(const TaskSuccessReport& report, json& result) {
  json rows = json::array(), differences = json::array(), identity = json::array();
  for (const GateResult& gate : report.gates) identity.push_back(to_json(gate));
  for (const TaskSuccessRow& row : report.rows) rows.push_back(row_json(row));
  for (const TaskSuccessDifference& one : report.differences) {
    differences.push_back(difference_json(one));
  }
  result["task_success"] = {{"file", report.file},
                            {"file_sha256", report.file_sha256},
                            {"sender", report.sender},
                            {"receiver", report.receiver},
                            {"question", report.question},
                            {"classes", report.classes},
                            {"answers", report.answers},
                            {"label_counts", report.label_counts},
                            {"answer", report.answer},
                            {"texts", report.texts},
                            {"text_tokens", number(report.text_tokens)},
                            {"left_out_seen", report.left_out_seen},
                            {"left_out_short", report.left_out_short},
                            {"sinks_show_text", report.sinks_show_text},
                            {"judged", report.judged},
                            {"conclusion", conclusion(report)},
                            {"identity", identity},
                            {"warnings", report.warnings},
                            {"rows", rows},
                            {"differences", differences}};
}

}  // namespace kvalign
