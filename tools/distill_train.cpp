// kvalign distill-train: trains a projector from a recipe into a run folder.
#include <CLI/App.hpp>
#include <memory>

#include "command.h"
#include "kvalign/train/distiller.h"
#include "train_run.h"

namespace kvalign::tools {

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
          [&](const TrainRecipe& options) {
            return run_training(
                "distill-train", options.recipe, *flags, *resume,
                [&](const DistillControl& control) { return distill(options.recipe, control); });
          });
    };
  });
}

}  // namespace kvalign::tools
