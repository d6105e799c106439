// Flags, recipes and results of the subcommands.
#include "command.h"

#include <ATen/Parallel.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "kvalign/core/device.h"

namespace kvalign::tools {

void add_flags(CLI::App& app, Flags& flags, std::function<std::string()> recipe_help) {
  app.add_option("--config", flags.config, "the recipe: a YAML file")
      ->type_name("FILE")
      ->check([](const std::string& path) { return path.empty() ? "needs a path" : ""; });
  app.add_option("--set", flags.sets,
                 "sets an option of the recipe, wins over the file; repeatable")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app.add_flag("--print-config", flags.print_config, "prints the resolved recipe, runs nothing");
  app.add_flag("--json", flags.json, "prints results as JSON");
  app.footer([help = std::move(recipe_help)] {
    return "\nOptions of the recipe, for the file and for --set:\n" + help();
  });
}

RecipeFile read_recipe_file(const Flags& flags) {
  RecipeFile file;
  try {
    read_options(file, flags.config, flags.sets);
  } catch (const std::invalid_argument& error) {
    throw WrongUsage(error.what());
  }
  return file;
}

void add_run_defaults(LadderRecipe& options) {
  EvaluateOptions& evaluate = options.evaluate;
  const std::string& run_folder = options.recipe.run_folder;
  if (run_folder.empty()) return;
  if (evaluate.checkpoints.empty()) evaluate.checkpoints = {run_folder + "/checkpoint.safetensors"};
  if (evaluate.output.empty()) evaluate.output = run_folder;
}

std::string source_text(const Flags& flags) {
  std::string text = flags.config.empty() ? "defaults" : flags.config;
  for (const std::string& set : flags.sets) text += ", --set " + set;
  return text;
}

Machine use_device(const Recipe& recipe) {
  if (recipe.threads > 0) at::set_num_threads(static_cast<int>(recipe.threads));
  return describe_machine(resolve_device(recipe.device).str());
}

void print_result(const std::string& text) {
  std::cout << text << (text.empty() || text.back() == '\n' ? "" : "\n") << std::flush;
  if (!std::cout) throw std::runtime_error("cannot write to standard output");
}

void print_result(const nlohmann::json& json) {
  // A text may end in the middle of a character.
  print_result(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace kvalign::tools
