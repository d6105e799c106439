// Reads metrics.jsonl. See training_curve.h.
#include "kvalign/evaluate/training_curve.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace kvalign {
namespace {

using nlohmann::json;

constexpr size_t kMaxTrainingLosses = 200, kMaxValidationLosses = 100;

struct Loss {
  int64_t step = 0;
  double loss = 0;
};

// Where a line stands, for what is said of it.
struct Place {
  const std::string& path;
  int64_t line = 0;
};

[[noreturn]] void refuse(const Place& place, const std::string& expected, const std::string& line) {
  throw std::runtime_error("read_training_points: " + place.path + ", line " +
                           std::to_string(place.line) + ": expected " + expected + ", got " +
                           line.substr(0, 80) +
                           ". Was it edited? A report does without it: move it away.");
}

json parse(const Place& place, const std::string& line) {
  json event = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!event.is_object() || !event.contains("event") || !event["event"].is_string()) {
    refuse(place, "a JSON object with an event", line);
  }
  return event;
}

Loss loss_of(const Place& place, const json& event) {
  const json step = event.value("step", json()), loss = event.value("loss", json("absent"));
  if (!step.is_number_integer() || !(loss.is_number() || loss.is_null())) {
    refuse(place, "a whole step and a loss", event.dump());
  }
  return {step.get<int64_t>(), loss.is_null() ? TrainingPoint().loss : loss.get<double>()};
}

// At most `most`, evenly spread over all, the first and the last among them.
std::vector<Loss> thin(const std::vector<Loss>& all, size_t most) {
  if (all.size() <= most) return all;
  std::vector<Loss> kept;
  for (size_t i = 0; i < most; ++i) kept.push_back(all[i * (all.size() - 1) / (most - 1)]);
  return kept;
}

}  // namespace

std::vector<TrainingPoint> read_training_points(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("read_training_points: cannot read " + path + ".");
  std::vector<Loss> training, validation;
  Place place{path};
  for (std::string line; std::getline(file, line) && !file.eof();) {
    ++place.line;
    const json event = parse(place, line);
    if (event["event"] == "train_step") training.push_back(loss_of(place, event));
    if (event["event"] == "validation") validation.push_back(loss_of(place, event));
  }
  std::map<int64_t, TrainingPoint> points;
  for (const Loss& loss : thin(training, kMaxTrainingLosses)) points[loss.step].loss = loss.loss;
  for (const Loss& loss : thin(validation, kMaxValidationLosses)) {
    points[loss.step].validation_loss = loss.loss;
  }
  std::vector<TrainingPoint> result;
  for (auto& [step, point] : points) {
    point.step = step;
    result.push_back(point);
  }
  return result;
}

}  // namespace kvalign
