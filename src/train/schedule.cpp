// Learning rates of the schedules.
#include "kvalign/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace kvalign {

double learning_rate_at(const Schedule& schedule, int64_t step) {
  if (schedule.kind != "constant" && schedule.kind != "cosine") {
    throw std::invalid_argument("learning_rate_at: unknown schedule \"" + schedule.kind +
                                "\"; known: constant, cosine");
  }
  if (step < schedule.warmup_steps) {
    return schedule.learning_rate * static_cast<double>(step + 1) /
           static_cast<double>(schedule.warmup_steps);
  }
  if (schedule.kind == "constant") return schedule.learning_rate;
  const double steps_after_warmup =
      std::max<double>(1.0, static_cast<double>(schedule.total_steps - schedule.warmup_steps));
  const double part_done =
      std::min(1.0, static_cast<double>(step - schedule.warmup_steps) / steps_after_warmup);
  return schedule.learning_rate * 0.5 * (1.0 + std::cos(std::numbers::pi * part_done));
}

}  // namespace kvalign
