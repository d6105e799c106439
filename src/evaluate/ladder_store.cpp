// Lines of ladder.jsonl. See ladder_store.h.
#include "ladder_store.h"

#include <nlohmann/json.hpp>

#include "json_number.h"

namespace kvalign {
namespace {

using nlohmann::json;

double number_of(const json& value) {
  return value.is_null() ? kUndefined : value.get<double>();
}

json to_json(const ByteWindow& window) {
  return {window.receiver.begin, window.receiver.end, window.sender.begin, window.sender.end,
          window.bytes};
}

ByteWindow window_of(const json& value) {
  return {.receiver = {value.at(0), value.at(1)},
          .sender = {value.at(2), value.at(3)},
          .bytes = value.at(4)};
}

json to_json(const RowScores& row) {
  return {{"nll", row.nll}, {"hits", row.hits}, {"kl", number(row.kl)}, {"bytes", row.bytes}};
}

RowScores row_of(const json& row) {
  return {.nll = row.at("nll"),
          .hits = row.at("hits"),
          .kl = number_of(row.at("kl")),
          .bytes = row.at("bytes")};
}

// LadderMilliseconds or LadderJoules.
template <class Steps>
json steps_to_json(const Steps& steps) {
  return {number(steps.prefill), number(steps.project), number(steps.continuation)};
}

template <class Steps>
Steps steps_of(const json& steps) {
  return {.prefill = number_of(steps.at(0)),
          .project = number_of(steps.at(1)),
          .continuation = number_of(steps.at(2))};
}

json to_json(const LadderTimes& times) {
  json rows = json::array(), joules = json::array();
  for (const LadderRowTimes& row : times.rows) {
    rows.push_back(steps_to_json(row.milliseconds));
    joules.push_back(steps_to_json(row.joules));
  }
  return {{"rows", rows},
          {"joules", joules},
          {"energy_source", times.energy_source},
          {"sender_prefill", times.sender_prefill_ms},
          {"texts", times.num_texts}};
}

// The first version of the file had no energy.
LadderTimes times_of(const json& value) {
  LadderTimes times{.sender_prefill_ms = value.at("sender_prefill"),
                    .num_texts = value.at("texts"),
                    .energy_source = value.value("energy_source",
                                                 "not measured: the times are of a version "
                                                 "without energy")};
  for (const json& row : value.at("rows")) {
    times.rows.push_back({.milliseconds = steps_of<LadderMilliseconds>(row)});
  }
  if (!value.contains("joules")) return times;
  for (size_t row = 0; row < times.rows.size(); ++row) {
    times.rows[row].joules = steps_of<LadderJoules>(value["joules"].at(row));
  }
  return times;
}

}  // namespace

LadderStore::LadderStore(const std::string& folder, const std::string& hash)
    : lines_(folder, "ladder.jsonl", {{"ladder", hash}}, [this](const json& line) { read(line); }) {
}

void LadderStore::read(const json& line) {
  if (line.contains("times")) times_ = {.keys = line.at("keys"), .times = times_of(line["times"])};
  if (!line.contains("sequence")) return;
  Sequence& sequence = sequences_[line["sequence"]];
  sequence.about = {.sequence = line.at("sequence"),
                    .document = line.at("document"),
                    .first = window_of(line.at("first")),
                    .all = window_of(line.at("all"))};
  for (const auto& item : line.at("rows").items()) {
    sequence.rows.insert_or_assign(item.key(), row_of(item.value()));
  }
}

std::vector<size_t> LadderStore::missing(int64_t sequence,
                                         const std::vector<std::string>& keys) const {
  const auto found = sequences_.find(sequence);
  std::vector<size_t> places;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (found == sequences_.end() || !found->second.rows.contains(keys[i])) places.push_back(i);
  }
  return places;
}

SequenceScores LadderStore::scores(int64_t sequence, const std::vector<std::string>& keys) const {
  const Sequence& stored = sequences_.at(sequence);
  SequenceScores scores = stored.about;
  for (const std::string& key : keys) scores.rows.push_back(stored.rows.at(key));
  return scores;
}

std::optional<LadderTimes> LadderStore::times(const std::vector<std::string>& keys) const {
  if (!times_ || times_->keys != keys) return std::nullopt;
  return times_->times;
}

void LadderStore::add(const SequenceScores& scores, const std::vector<std::string>& keys) {
  json rows = json::object();
  for (size_t i = 0; i < keys.size(); ++i) rows[keys[i]] = to_json(scores.rows[i]);
  const json line = {{"sequence", scores.sequence},
                     {"document", scores.document},
                     {"first", to_json(scores.first)},
                     {"all", to_json(scores.all)},
                     {"rows", std::move(rows)}};
  lines_.append(line);
  read(line);
}

void LadderStore::add(const LadderTimes& times, const std::vector<std::string>& keys) {
  lines_.append({{"times", to_json(times)}, {"keys", keys}});
  times_ = {keys, times};
}

}  // namespace kvalign
