// kvalign eval: measures checkpoints and baselines on the held-out sequences of a recipe.
#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "console.h"
#include "kvalign/evaluate/evaluate.h"

namespace kvalign::tools {
namespace {

struct EvalFlags : Flags {
  std::vector<std::string> checkpoints;
  std::string output;
};

// Without a word about checkpoints, the recipe's own run is meant; and its folder takes the report.
void add_own_flags(EvalRecipe& options, const EvalFlags& flags) {
  EvaluateOptions& evaluate = options.evaluate;
  const std::string& run_folder = options.recipe.run_folder;
  if (!flags.checkpoints.empty()) evaluate.checkpoints = flags.checkpoints;
  if (!flags.output.empty()) evaluate.output = flags.output;
  if (run_folder.empty()) return;
  if (evaluate.checkpoints.empty()) evaluate.checkpoints = {run_folder + "/checkpoint.safetensors"};
  if (evaluate.output.empty()) evaluate.output = run_folder;
}

int eval(const EvalRecipe& options, const Flags& flags) {
  Console console;
  console.start("eval", use_device(options.recipe), source_text(flags));
  const Report report = evaluate(options.recipe, options.evaluate,
                                 [&](const std::string& what, int64_t done, int64_t total) {
                                   console.progress(what, done, total, "batches");
                                 });
  for (const std::string& warning : report.warnings) console.warning(warning);
  write_report(report, options.evaluate.output);
  console.info("report.json and report.md are in " + options.evaluate.output);
  flags.json ? print_result(to_json(report)) : print_result(to_text(report));
  return kDone;
}

}  // namespace

void add_eval(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("eval", "measures checkpoints on held-out sequences");
  auto flags = std::make_shared<EvalFlags>();
  add_flags(*command, *flags, [] { return options_help(EvalRecipe()); });
  command
      ->add_option("--checkpoint", flags->checkpoints,
                   "PATH or NAME=PATH, repeatable; default: the run folder's checkpoint")
      ->type_name("PATH")
      ->allow_extra_args(false);
  command
      ->add_option("--output", flags->output,
                   "folder of report.json and report.md; default: the run folder")
      ->type_name("DIR");
  command->callback([=, &chosen] {
    chosen = [=] {
      return run_with_recipe<EvalRecipe>(
          *flags, [&](EvalRecipe& options) { add_own_flags(options, *flags); },
          [&](const EvalRecipe& options) { return eval(options, *flags); });
    };
  });
}

}  // namespace kvalign::tools
