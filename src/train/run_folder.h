// The files of one run: where they are, what is appended, and what a resumed run finds.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "kvalign/train/metrics_log.h"
#include "kvalign/train/tensorboard.h"
#include "kvalign/train/training_state.h"

namespace kvalign {

class RunFolder {
 public:
  /// Makes the folder. With `resume` the state that is there is read. Throws std::runtime_error
  /// where a state is there and `resume` is false.
  RunFolder(const std::string& path, bool resume);

  /// What a resumed run starts from; none in a new one.
  const std::optional<TrainingState>& saved_state() const { return saved_state_; }

  /// Opens the logs, cut back to what the state knows of. To be called once, before the rest.
  void open_logs();

  std::string file(const char* name) const { return (path_ / name).string(); }
  std::string checkpoint() const { return file("checkpoint.safetensors"); }
  std::string last_checkpoint() const { return file("checkpoint_last.safetensors"); }
  std::string state() const { return file("training_state.safetensors"); }

  MetricsLog& metrics() { return *metrics_; }
  EventWriter& events() { return *events_; }

  /// Writes `state` with the lengths of the logs in it, after they have reached the disk.
  void save(TrainingState state);

 private:
  std::filesystem::path path_;
  std::optional<TrainingState> saved_state_;
  std::unique_ptr<MetricsLog> metrics_;
  std::unique_ptr<EventWriter> events_;
};

}  // namespace kvalign
