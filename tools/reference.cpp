// kvalign reference: what a server compares requests with, measured on the data that a checkpoint
// was trained on: statistics for its guard, scores for its drift test.
#include <CLI/App.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "console.h"
#include "kvalign/core/files.h"
#include "kvalign/deploy/input_statistics.h"

namespace kvalign::tools {
namespace {

struct ReferenceFlags : Flags {
  std::string checkpoint;
  std::string output;
};

int write_reference(const Recipe& recipe, const ReferenceFlags& flags) {
  Console console;
  console.start("reference", use_device(recipe), source_text(flags));
  const ServingReference reference = measure_serving_reference(flags.checkpoint, recipe);
  const std::filesystem::path folder(flags.output);
  std::filesystem::create_directories(folder);
  const std::string statistics = (folder / "statistics.safetensors").string();
  const std::string scores = (folder / "drift.json").string();
  save_input_statistics(statistics, reference.statistics);
  write_file_atomically(scores, drift_reference_json(reference).dump() + "\n");
  print_result(nlohmann::json{{"statistics", statistics},
                              {"largest_token_rms", reference.statistics.largest_token_rms},
                              {"drift", scores},
                              {"scores", reference.drift_scores.size()}});
  return kDone;
}

}  // namespace

void add_reference(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand(
      "reference", "measures, on a checkpoint's own data, what a server compares requests with");
  auto flags = std::make_shared<ReferenceFlags>();
  add_flags(*command, *flags, [] { return options_help(TrainRecipe()); });
  command->add_option("CHECKPOINT", flags->checkpoint, "of the recipe's data")
      ->required()
      ->type_name("");
  command
      ->add_option("OUTPUT", flags->output,
                   "the folder that gets statistics.safetensors and drift.json")
      ->required()
      ->type_name("");
  command->callback([=, &chosen] {
    chosen = [=] {
      return run_with_recipe<TrainRecipe>(
          *flags, [](TrainRecipe&) {},
          [&](const TrainRecipe& options) { return write_reference(options.recipe, *flags); });
    };
  });
}

}  // namespace kvalign::tools
