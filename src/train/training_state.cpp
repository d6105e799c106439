// The state file: tensors as they are, the rest as one JSON object in the metadata.
#include "kvalign/train/training_state.h"

#include <nlohmann/json.hpp>
#include <stdexcept>

namespace kvalign {

namespace {

constexpr const char* kFormat = "kvalign.training_state.1";

// JSON has no infinity: a best loss that is not there yet is left out.
nlohmann::json to_json(const TrainingState& state) {
  const TrainingProgress& progress = state.progress;
  nlohmann::json json = {
      {"step", progress.step},
      {"epoch", progress.epoch},
      {"next_batch", progress.next_batch},
      {"tokens", progress.tokens},
      {"best_step", progress.best_step},
      {"validations_without_improvement", progress.validations_without_improvement},
      {"stopped_early", progress.stopped_early},
      {"finished", progress.finished},
      {"metrics_bytes", state.metrics_bytes},
      {"events_bytes", state.events_bytes},
      {"recipe", state.recipe},
      {"dataset_sha256", state.dataset_sha256}};
  if (progress.best_step >= 0) json["best_loss"] = progress.best_loss;
  return json;
}

void read_json(const nlohmann::json& json, TrainingState& state) {
  TrainingProgress& progress = state.progress;
  json.at("step").get_to(progress.step);
  json.at("epoch").get_to(progress.epoch);
  json.at("next_batch").get_to(progress.next_batch);
  json.at("tokens").get_to(progress.tokens);
  json.at("best_step").get_to(progress.best_step);
  json.at("validations_without_improvement").get_to(progress.validations_without_improvement);
  json.at("stopped_early").get_to(progress.stopped_early);
  json.at("finished").get_to(progress.finished);
  json.at("metrics_bytes").get_to(state.metrics_bytes);
  json.at("events_bytes").get_to(state.events_bytes);
  json.at("recipe").get_to(state.recipe);
  json.at("dataset_sha256").get_to(state.dataset_sha256);
  if (progress.best_step >= 0) json.at("best_loss").get_to(progress.best_loss);
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
