// kvalign fine-tune: trains a task head on a checkpoint's caches, the checkpoint, or both.
#include <CLI/App.hpp>
#include <memory>

#include "command.h"
#include "kvalign/train/fine_tuner.h"
#include "train_run.h"

namespace kvalign::tools {

void add_fine_tune(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand(
      "fine-tune",
      "trains a task head on a checkpoint's projected caches, the projector, or both, on labels");
  auto flags = std::make_shared<Flags>();
  auto checkpoint = std::make_shared<std::string>();
  auto resume = std::make_shared<bool>(false);
  add_flags(*command, *flags, [] { return options_help(TuneRecipe()); });
  command
      ->add_option("--checkpoint", *checkpoint,
                   "that training starts from; default: the recipe's fine_tune.checkpoint")
      ->type_name("PATH");
  command->add_flag("--resume", *resume, "goes on with the run in the run folder, if there is one");
  command->callback([=, &chosen] {
    chosen = [=] {
      return run_with_recipe<TuneRecipe>(
          *flags,
          [&](TuneRecipe& options) {
            if (!checkpoint->empty()) options.fine_tune.checkpoint = *checkpoint;
          },
          [&](const TuneRecipe& options) {
            return run_training(
                "fine-tune", options.recipe, *flags, *resume,
                [&](const DistillControl& control) { return fine_tune(options, control); });
          });
    };
  });
}

}  // namespace kvalign::tools
