// Reads strictly, writes sorted. See drift_reference.h.
#include "kvalign/monitor/drift_reference.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvalign/core/files.h"

namespace kvalign {
namespace {

using nlohmann::json;

constexpr int kDriftSchema = 1;

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  throw std::invalid_argument(path + ": " + what);
}

std::string shown(const json& value) {
  const std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

json parse(const std::string& path) {
  try {
    return json::parse(read_file(path));
  } catch (const json::exception& error) {
    refuse(path, std::string("expected JSON: ") + error.what());
  }
}

void check_keys(const std::string& path, const json& file) {
  if (!file.is_object()) refuse(path, "expected an object, got " + shown(file));
  const json schema = file.value("schema", json());
  if (schema != kDriftSchema) {
    refuse(path, "expected \"schema\": " + std::to_string(kDriftSchema) + ", got " + shown(schema) +
                     ". Is it a drift reference, and of this version?");
  }
  for (const auto& [key, value] : file.items()) {
    if (key != "schema" && key != "checkpoint" && key != "scores") {
      refuse(path, "unknown key \"" + key + "\"; known: schema, checkpoint, scores");
    }
  }
  for (const char* key : {"checkpoint", "scores"}) {
    if (!file.contains(key)) refuse(path, std::string("missing key \"") + key + "\"");
  }
}

void check(const std::string& path, const DriftReference& reference) {
  const std::string& digits = reference.checkpoint;
  if (digits.size() != 64 || digits.find_first_not_of("0123456789abcdef") != std::string::npos) {
    refuse(path,
           "checkpoint: expected the 64 hexadecimal digits of a SHA-256, got " + shown(digits));
  }
  if (reference.scores.empty()) refuse(path, "scores: expected at least one, got none");
  for (size_t i = 0; i < reference.scores.size(); ++i) {
    if (std::isfinite(reference.scores[i])) continue;
    refuse(path, "scores[" + std::to_string(i) + "]: expected a finite number, got " +
                     std::to_string(reference.scores[i]));
  }
}

}  // namespace

void write_drift_reference(const std::string& path, const DriftReference& reference) {
  check(path, reference);
  std::vector<double> scores = reference.scores;
  std::sort(scores.begin(), scores.end());
  const json file = {
      {"schema", kDriftSchema}, {"checkpoint", reference.checkpoint}, {"scores", scores}};
  write_file_atomically(path, file.dump() + "\n");
}

DriftReference read_drift_reference(const std::string& path, const std::string& checkpoint) {
  const json file = parse(path);
  check_keys(path, file);
  DriftReference reference;
  const json& digits = file.at("checkpoint");
  if (!digits.is_string()) refuse(path, "checkpoint: expected a string, got " + shown(digits));
  reference.checkpoint = digits.get<std::string>();
  const json& scores = file.at("scores");
  if (!scores.is_array()) refuse(path, "scores: expected a list, got " + shown(scores));
  for (const json& score : scores) {
    if (!score.is_number()) {
      refuse(path, "scores[" + std::to_string(reference.scores.size()) +
                       "]: expected a number, got " + shown(score));
    }
    reference.scores.push_back(score.get<double>());
  }
  check(path, reference);
  if (reference.checkpoint != checkpoint) {
    refuse(path, "expected scores of checkpoint " + checkpoint + ", got those of " +
                     reference.checkpoint + ". Make the reference anew from this checkpoint.");
  }
  return reference;
}

}  // namespace kvalign
