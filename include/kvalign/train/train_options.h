// Options of the optimisation itself; data, projector and loss have their own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct KVALIGN_API TrainOptions {
  int64_t epochs = 10;
  double learning_rate = 1e-4;
  std::string schedule = "constant";
  int64_t warmup_steps = 0;
  double weight_decay = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double gradient_clip = 0.0;
  std::string autocast = "none";
  std::vector<int64_t> ranks;
  int64_t validate_every = 1;
  int64_t early_stopping_patience = 0;
  int64_t checkpoint_every_steps = 1000;
  int64_t log_every_steps = 10;

  void describe(OptionVisitor& visitor);
};

}  // namespace kvalign
