// kvalign load: puts load on a server of the Open Inference Protocol and measures its answers.
#include "kvalign/serve/load.h"

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "console.h"
#include "interrupt.h"

namespace kvalign::tools {
namespace {

struct LoadFlags : Flags {
  LoadOptions given;  // of which a flag that is not given leaves its field empty
};

int load(const LoadOptions& options, const Flags& flags) {
  try {
    check_load_options(options);
  } catch (const std::invalid_argument& error) {
    throw WrongUsage(error.what());
  }
  Console console;
  catch_interrupts();
  const LoadResult result = run_load(
      options,
      [&](int64_t done, int64_t total) { console.progress("load", done, total, "queries"); },
      [] { return interrupt_signal() != 0; });
  flags.json ? print_result(to_json(result)) : print_result(to_text(result));
  if (result.interrupted) {
    console.warning("stopped; the figures are of the queries that were done");
    return 128 + interrupt_signal();
  }
  const std::vector<std::string> not_met = bounds_not_met(result);
  for (const std::string& sentence : not_met) console.error("bound not met: " + sentence);
  if (!not_met.empty()) return kGateNotMet;
  if (result.answered == 0) console.error("no query was answered");
  return result.answered > 0 ? kDone : kFailed;
}

void add_flag(CLI::App& command, const char* name, std::string& value, const char* help,
              const char* type) {
  command.add_option(name, value, help)->type_name(type);
}

}  // namespace

void add_load(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("load", "puts load on a server and measures its answers");
  auto flags = std::make_shared<LoadFlags>();
  flags->given = {.url = "", .scenario = ""};
  add_flags(*command, *flags, [] { return options_help(LoadRecipe()); });
  add_flag(*command, "--url", flags->given.url, "the server's, e.g. http://127.0.0.1:8000", "URL");
  add_flag(*command, "--model", flags->given.model, "which of its models", "NAME");
  add_flag(*command, "--scenario", flags->given.scenario, "single_stream, server or offline",
           "NAME");
  add_flag(*command, "--log", flags->given.log, "gets a line of JSON for each query", "FILE");
  command->callback([=, &chosen] {
    chosen = [=] {
      return run_with_recipe<LoadRecipe>(
          *flags,
          [&](LoadRecipe& recipe) {
            const LoadOptions& given = flags->given;
            LoadOptions& options = recipe.load;
            if (!given.url.empty()) options.url = given.url;
            if (!given.model.empty()) options.model = given.model;
            if (!given.scenario.empty()) options.scenario = given.scenario;
            if (!given.log.empty()) options.log = given.log;
          },
          [&](const LoadRecipe& recipe) { return load(recipe.load, *flags); });
    };
  });
}

}  // namespace kvalign::tools
