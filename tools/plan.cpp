// kvalign plan: whether a prompt should travel as text, as a sender's cache or as latents, from
// estimates alone. Runs no model.
#include "kvalign/evaluate/plan.h"

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "console.h"

namespace kvalign::tools {
namespace {

struct PlanFlags : Flags {
  std::string output;
};

int plan(const PlanRecipe& options, const Flags& flags) {
  const Plan result = make_plan(options.cost, options.plan);
  if (!options.plan.output.empty()) {
    write_plan(result, options.plan.output);
    Console().info("plan.json, plan.md, plan_bandwidth.svg and plan_prompt.svg are in " +
                   options.plan.output);
  }
  flags.json ? print_result(to_json(result)) : print_result(to_text(result));
  return kDone;
}

}  // namespace

void add_plan(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("plan", "estimates whether to send text, a cache or latents");
  auto flags = std::make_shared<PlanFlags>();
  add_flags(*command, *flags, [] { return options_help(PlanRecipe()); });
  command->add_option("--output", flags->output, "folder of plan.json, plan.md and the plots")
      ->type_name("DIR");
  command->callback([=, &chosen] {
    chosen = [=] {
      return run_with_recipe<PlanRecipe>(
          *flags,
          [&](PlanRecipe& options) {
            if (!flags->output.empty()) options.plan.output = flags->output;
          },
          [&](const PlanRecipe& options) { return plan(options, *flags); });
    };
  });
}

}  // namespace kvalign::tools
