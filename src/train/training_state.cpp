// The state file: tensors as they are, the rest as one JSON object in the metadata.
#include "kvalign/train/training_state.h"

#include <nlohmann/json.hpp>
#include <stdexcept>

namespace kvalign {

namespace {

constexpr const char* kFormat = "kvalign.training_state.1";

// Calls `visit` with the name and the value of every field that goes into the JSON. JSON has no
// infinity: a best loss that is not there yet is left out, so best_step comes before it.
template <class State, class Visit>
void for_each_field(State& state, const Visit& visit) {
  auto& progress = state.progress;
  visit("step", progress.step);
  visit("epoch", progress.epoch);
  visit("next_batch", progress.next_batch);
  visit("tokens", progress.tokens);
  visit("best_step", progress.best_step);
  if (progress.best_step >= 0) visit("best_loss", progress.best_loss);
  visit("validations_without_improvement", progress.validations_without_improvement);
  visit("stopped_early", progress.stopped_early);
  visit("finished", progress.finished);
  visit("metrics_bytes", state.metrics_bytes);
  visit("events_bytes", state.events_bytes);
  visit("recipe", state.recipe);
  visit("dataset_sha256", state.dataset_sha256);
}

nlohmann::json to_json(const TrainingState& state) {
  nlohmann::json json;
  for_each_field(state, [&](const char* name, const auto& value) { json[name] = value; });
  return json;
}

void read_json(const nlohmann::json& json, TrainingState& state) {
  for_each_field(state, [&](const char* name, auto& value) { json.at(name).get_to(value); });
}

}  // namespace

void save_training_state(const std::string& path, const TrainingState& state) {
  write_safetensors(path, state.tensors, {{"format", kFormat}, {"state", to_json(state).dump()}});
}

TrainingState load_training_state(const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  const auto format = file.metadata().find("format");
  if (format == file.metadata().end() || format->second != kFormat) {
    throw std::runtime_error(path + ": expected a training state with format " + kFormat +
                             ", got " +
                             (format == file.metadata().end() ? "no format" : format->second) +
                             ". It can be resumed only by the version that wrote it");
  }
  TrainingState state;
  try {
    read_json(nlohmann::json::parse(file.metadata().at("state")), state);
  } catch (const std::exception& error) {
    throw std::runtime_error(path + ": the metadata entry \"state\" is damaged (" + error.what() +
                             "). Start the run again in another folder");
  }
  for (const auto& [name, info] : file.tensors()) {
    state.tensors.push_back({name, file.tensor(name).clone()});
  }
  return state;
}

}  // namespace kvalign
