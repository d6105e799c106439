// The kvalign command: reads the command line, runs the subcommand, turns errors into exit codes.
#include <c10/util/Exception.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <exception>

#include "command.h"
#include "console.h"

namespace kvalign::tools {
namespace {

constexpr const char* kFooter =
    "\nstdout carries results, stderr logs and progress. Exit codes: 0 done, 1 failed, 2 wrong "
    "usage,\n"
    "3 a gate not met, 130 and 143 stopped by SIGINT and SIGTERM.";

// LibTorch's own text goes on with a stack trace that helps nobody who uses the command.
int run(const Command& command) {
  try {
    return command();
  } catch (const WrongUsage& error) {
    Console().error(error.what());
    return kWrongUsage;
  } catch (const c10::Error& error) {
    Console().error(error.what_without_backtrace());
  } catch (const std::exception& error) {
    Console().error(error.what());
  }
  return kFailed;
}

// CLI11 has such a check too, but would hide that a word was meant as a subcommand.
int refuse_without_subcommand() {
  throw WrongUsage("a subcommand is required; --help lists them");
}

int parse_and_run(int argc, char** argv) {
  CLI::App app("Lets a receiver model continue from a sender model's KV cache.", "kvalign");
  Command chosen;
  app.set_version_flag("--version", "kvalign " KVALIGN_VERSION);
  app.footer(kFooter);
  add_capture(app, chosen);
  add_dataset(app, chosen);
  add_distill_train(app, chosen);
  add_fine_tune(app, chosen);
  add_eval(app, chosen);
  add_continue(app, chosen);
  add_bench(app, chosen);
  add_plan(app, chosen);
  add_reference(app, chosen);
  add_serve(app, chosen);
  add_load(app, chosen);
  add_export(app, chosen);
  add_encode(app, chosen);
  add_decode(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongUsage;
  }
  if (!chosen) chosen = [] { return refuse_without_subcommand(); };
  return run(chosen);
}

}  // namespace
}  // namespace kvalign::tools

int main(int argc, char** argv) {
  return kvalign::tools::parse_and_run(argc, argv);
}
