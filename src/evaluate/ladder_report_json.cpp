// The ladder's keys of report.json. See ladder_report.h.
#include <nlohmann/json.hpp>

#include "json_parts.h"
#include "kvalign/evaluate/ladder_report.h"

namespace kvalign {
namespace {

using nlohmann::json;

json to_json(const LadderScores& scores) {
  return {{"nll", number(scores.nll)},           {"nll_low", number(scores.nll_low)},
          {"nll_high", number(scores.nll_high)}, {"ppl", number(scores.ppl)},
          {"top1", number(scores.top1)},         {"nats_per_byte", number(scores.nats_per_byte)}};
}

json to_json(const LadderRow& row) {
  json nll_by_position = json::array();
  for (const double nll : row.nll_by_position) nll_by_position.push_back(number(nll));
  return {{"row", row.row},
          {"text", row.text},
          {"sinks", row.sinks},
          {"reread", row.reread},
          {"wire", row.wire.empty() ? json(nullptr) : json(row.wire)},
          {"bytes_per_token", number(row.bytes_per_token)},
          {"sequences", row.sequences},
          {"first16", to_json(row.first)},
          {"all", to_json(row.all)},
          {"nll_by_position", nll_by_position},
          {"retention", number(row.retention)},
          {"retention_first16", number(row.retention_first)},
          {"kl", number(row.kl)},
          {"milliseconds",
           {{"prefill", number(row.milliseconds.prefill)},
            {"project", number(row.milliseconds.project)},
            {"continue", number(row.milliseconds.continuation)}}},
          {"joules",
           {{"prefill", number(row.joules.prefill)},
            {"project", number(row.joules.project)},
            {"continue", number(row.joules.continuation)}}}};
}

json to_json(const LadderDifference& difference) {
  json result = {{"row", difference.row},
                 {"against", difference.against},
                 {"nll", number(difference.nll.value)},
                 {"low", number(difference.nll.low)},
                 {"high", number(difference.nll.high)},
                 {"unit", difference.unit}};
  if (difference.only_row_right >= 0) {
    result["mcnemar"] = {{"only_row_right", difference.only_row_right},
                         {"only_against_right", difference.only_against_right},
                         {"p", number(difference.mcnemar_p)}};
  }
  return result;
}

template <class Items>
json list_of(const Items& items) {
  json list = json::array();
  for (const auto& item : items) list.push_back(to_json(item));
  return list;
}

}  // namespace

void add_to_json(const LadderReport& report, json& result) {
  result["ladder"] = list_of(report.rows);
  result["differences"] = list_of(report.differences);
  result["gate"] = {
      {"row", report.gate.row}, {"passed", report.gate.passed}, {"why", report.gate.why}};
  result["ladder_data"] = {
      {"tokens", report.tokens},
      {"tokens_sha256", report.tokens_sha256},
      {"sender", report.sender},
      {"receiver", report.receiver},
      {"one_tokenizer", report.one_tokenizer},
      {"prefix_tokens", report.prefix_tokens},
      {"continuation_tokens", report.continuation_tokens},
      {"first_tokens", report.first_tokens},
      {"sequences", report.sequences},
      {"documents", report.documents},
      {"left_out_seen", report.left_out_seen},
      {"left_out_short", report.left_out_short},
      {"floor", report.floor},
      {"sender_prefill_ms", {{"warm", 0}, {"cold", number(report.sender_prefill_ms)}}},
      {"timed_sequences", report.timed_sequences},
      {"energy_source", report.energy_source},
      {"identity", list_of(report.gates)},
      {"conclusion", conclusion(report)},
      {"warnings", report.warnings}};
}

}  // namespace kvalign
