// Watches a training run and tells of its result. See train_run.h.
#include "train_run.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "console.h"
#include "interrupt.h"
#include "train_display.h"

namespace kvalign::tools {
namespace {

nlohmann::json to_json(const DistillResult& result) {
  return {{"steps", result.steps},
          {"epochs", result.epochs},
          {"skipped_steps", result.skipped_steps},
          {"best_loss", result.best_loss},
          {"best_step", result.best_step},
          {"stopped_early", result.stopped_early},
          {"interrupted", result.interrupted},
          {"checkpoint", result.checkpoint}};
}

std::string to_text(const DistillResult& result) {
  std::string text = fmt::format("{} steps in {} epochs", result.steps, result.epochs);
  if (result.stopped_early) text += ", stopped early";
  if (result.skipped_steps > 0) text += fmt::format(", {} skipped", result.skipped_steps);
  if (result.best_step >= 0) {
    text +=
        fmt::format("\nbest validation loss {:.6g} at step {}", result.best_loss, result.best_step);
  }
  return text + "\n" + result.checkpoint;
}

}  // namespace

int run_training(const std::string& name, const Recipe& recipe, const Flags& flags, bool resume,
                 const std::function<DistillResult(const DistillControl&)>& train) {
  Console console;
  console.start(name, use_device(recipe), source_text(flags));
  TrainDisplay display(console);
  catch_interrupts();
  const DistillResult result = train({.observer = &display,
                                      .stop_requested = [] { return interrupt_signal() != 0; },
                                      .resume = resume});
  if (result.interrupted) {
    console.warning(fmt::format("stopped after step {}; --resume goes on from {}", result.steps,
                                recipe.run_folder));
    return 128 + interrupt_signal();
  }
  flags.json ? print_result(to_json(result)) : print_result(to_text(result));
  return kDone;
}

}  // namespace kvalign::tools
