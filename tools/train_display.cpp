// The words for each event of a training run.
#include "train_display.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

namespace kvalign::tools {
namespace {

std::string terms_text(const std::vector<std::pair<std::string, double>>& terms) {
  std::string text;
  for (const auto& [name, value] : terms) {
    text += fmt::format("{}{} {:.5g}", text.empty() ? "" : ", ", name, value);
  }
  return text;
}

}  // namespace

void TrainDisplay::on_start(const TrainStart& start) {
  console_.info(
      fmt::format("{} parameters; {} sequences ({} tokens) to train on, {} to validate; {} "
                  "steps, {} an epoch",
                  start.num_parameters, start.train_sequences, start.train_tokens,
                  start.validation_sequences, start.total_steps, start.steps_per_epoch));
  if (start.task_head_accuracy >= 0) {
    console_.info(fmt::format("task head: accuracy {:.3f} on true receiver caches",
                              start.task_head_accuracy));
  }
  if (start.resumed_from_step > 0) {
    console_.info(fmt::format("resumed after step {}", start.resumed_from_step));
  }
}

void TrainDisplay::on_step(const TrainStep& step) {
  console_.progress("train", step.step, step.total_steps,
                    fmt::format("loss {:.5g} ({:.0f} tokens/s, {} left)", step.loss,
                                step.tokens_per_s, duration_text(step.eta_s)));
}

void TrainDisplay::on_validation(const Validation& validation) {
  console_.info(fmt::format("epoch {} step {}: validation loss {:.6g} ({}){}", validation.epoch,
                            validation.step, validation.loss, terms_text(validation.terms),
                            validation.improved ? ", the best" : ""));
}

void TrainDisplay::on_progress(const std::string& what, int64_t done, int64_t total) {
  total > 0 ? console_.progress(what, done, total) : console_.info(what);
}

void TrainDisplay::on_warning(const std::string& text) {
  console_.warning(text);
}

}  // namespace kvalign::tools
