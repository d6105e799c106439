// What the subcommands share: the flags that all of them have, how a recipe is read, and the exit
// codes. A subcommand reads options, builds, calls the library and reports; nothing else happens in
// tools/.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "kvalign/core/options.h"
#include "kvalign/evaluate/machine.h"
#include "recipe_file.h"

namespace kvalign::tools {

/// After SIGINT or SIGTERM: 128 + the signal's number, as shells have it (130, 143).
enum ExitCode { kDone = 0, kFailed = 1, kWrongUsage = 2, kGateNotMet = 3 };

/// A flag or a recipe that was refused before any work began.
struct WrongUsage : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The subcommand that the command line chose, ready to run; returns the exit code.
using Command = std::function<int()>;

// One a file of the same name.
void add_capture(CLI::App& app, Command& chosen);
void add_dataset(CLI::App& app, Command& chosen);
void add_distill_train(CLI::App& app, Command& chosen);
void add_fine_tune(CLI::App& app, Command& chosen);
void add_eval(CLI::App& app, Command& chosen);
void add_continue(CLI::App& app, Command& chosen);
void add_bench(CLI::App& app, Command& chosen);
void add_plan(CLI::App& app, Command& chosen);
void add_reference(CLI::App& app, Command& chosen);
void add_serve(CLI::App& app, Command& chosen);
void add_load(CLI::App& app, Command& chosen);
void add_export(CLI::App& app, Command& chosen);
// Both in packet.cpp.
void add_encode(CLI::App& app, Command& chosen);
void add_decode(CLI::App& app, Command& chosen);

struct Flags {
  std::string config;
  std::vector<std::string> sets;
  bool print_config = false;
  bool json = false;
};

/// --config, --set, --print-config and --json, with the recipe's options_help after them.
void add_flags(CLI::App& app, Flags& flags, std::function<std::string()> recipe_help);

/// The recipe file with the --set flags on it. Throws WrongUsage.
RecipeFile read_recipe_file(const Flags& flags);

/// Writes to stdout, which carries results alone. Throws std::runtime_error where it is closed or
/// full.
void print_result(const std::string& text);
void print_result(const nlohmann::json& json);

/// Where the options come from, for the log: "recipe.yaml, --set a=1".
std::string source_text(const Flags& flags);

/// Sets the number of CPU threads and describes the machine with the recipe's device. Throws
/// c10::Error where there is no such device.
Machine use_device(const Recipe& recipe);

/// Without a word about checkpoints the recipe's own run is meant, and its folder takes the report.
void add_run_defaults(LadderRecipe& options);

/// Throws WrongUsage for what validate_options refuses.
template <class Options>
void check(const Options& options) {
  try {
    validate_options(options);
  } catch (const std::invalid_argument& error) {
    throw WrongUsage(error.what());
  }
}

/// Reads what a subcommand uses of the recipe, lets `add` put the subcommand's own flags on it, and
/// prints it (--print-config) or checks it and goes on to `run`.
template <class Options, class Add, class Run>
int run_with_recipe(const Flags& flags, const Add& add, const Run& run) {
  Options options(read_recipe_file(flags));
  add(options);
  if (flags.print_config) {
    print_result(options_to_yaml(options));
    return kDone;
  }
  check(options);
  return run(options);
}

}  // namespace kvalign::tools
