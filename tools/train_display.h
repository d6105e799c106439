// Shows a training run on the console as it goes.
#pragma once

#include <string>

#include "console.h"
#include "kvalign/train/train_events.h"

namespace kvalign::tools {

class TrainDisplay : public TrainObserver {
 public:
  explicit TrainDisplay(Console& console) : console_(console) {}
  void on_start(const TrainStart& start) override;
  void on_step(const TrainStep& step) override;
  void on_validation(const Validation& validation) override;
  void on_progress(const std::string& what, int64_t done, int64_t total) override;
  void on_warning(const std::string& text) override;

 private:
  Console& console_;
};

}  // namespace kvalign::tools
