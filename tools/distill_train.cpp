// kvalign distill-train: trains a projector from a recipe into a run folder.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "console.h"
#include "interrupt.h"
#include "kvalign/train/distiller.h"
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

int train(const TrainRecipe& options, const Flags& flags, bool resume) {
  const Recipe& recipe = options.recipe;
  Console console;
  console.start("distill-train", use_device(recipe), source_text(flags));
  TrainDisplay display(console);
  catch_interrupts();
  const DistillResult result =
      distill(recipe, {.observer = &display,
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

}  // namespace

void add_distill_train(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("distill-train", "trains a projector on paired caches");
  auto flags = std::make_shared<Flags>();
  auto resume = std::make_shared<bool>(false);
  add_flags(*command, *flags, [] { return options_help(TrainRecipe()); });
  command->add_flag("--resume", *resume, "goes on with the run in the run folder, if there is one");
  command->callback([=, &chosen] {
    chosen = [=] {
      return run_with_recipe<TrainRecipe>(
          *flags, [](TrainRecipe&) {},
          [&](const TrainRecipe& options) { return train(options, *flags, *resume); });
    };
  });
}

}  // namespace kvalign::tools
