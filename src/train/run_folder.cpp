// Opening and saving a run.
#include "run_folder.h"

#include <stdexcept>

namespace kvalign {

RunFolder::RunFolder(const std::string& path, bool resume) : path_(path) {
  std::filesystem::create_directories(path_);
  if (!std::filesystem::exists(state())) return;
  if (!resume) {
    throw std::runtime_error(path + ": holds a run already (" + state() +
                             "). Resume it, or choose another run_folder, or delete this one");
  }
  saved_state_ = load_training_state(state());
}

void RunFolder::open_logs() {
  metrics_ = std::make_unique<MetricsLog>(file("metrics.jsonl"),
                                          saved_state_ ? saved_state_->metrics_bytes : 0);
  events_ = std::make_unique<EventWriter>(file("events.out.tfevents.kvalign"),
                                          saved_state_ ? saved_state_->events_bytes : 0);
}

void RunFolder::save(TrainingState state_now) {
  metrics_->sync();
  events_->sync();
  state_now.metrics_bytes = metrics_->size_bytes();
  state_now.events_bytes = events_->size_bytes();
  save_training_state(state(), state_now);
}

}  // namespace kvalign
