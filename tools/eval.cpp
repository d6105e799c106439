// kvalign eval: measures checkpoints and baselines on the held-out sequences of a recipe, and,
// where it names a token file or a task file, what the receiver can do with their caches.
#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "command.h"
#include "console.h"
#include "interrupt.h"
#include "kvalign/core/files.h"
#include "kvalign/deploy/packet_certificate.h"
#include "kvalign/evaluate/evaluate.h"
#include "kvalign/evaluate/ladder.h"
#include "kvalign/evaluate/task_success.h"

namespace kvalign::tools {
namespace {

struct EvalFlags : Flags {
  std::vector<std::string> checkpoints;
  std::string output;
  std::string packet;
};

EvaluateProgress progress_of(Console& console, const char* unit) {
  return [&console, unit](const std::string& what, int64_t done, int64_t total) {
    console.progress(what, done, total, unit);
  };
}

// Tells the gates' findings; false where one did not pass.
bool tell(const std::vector<GateResult>& gates, Console& console) {
  bool passed = true;
  for (const GateResult& gate : gates) {
    passed = passed && gate.passed;
    gate.passed ? console.info("gate passed: " + gate.why)
                : console.error("gate not met: " + gate.why);
  }
  return passed;
}

// What a server can check of a packet without the sender's floats; reads no recipe.
int certify(const EvalFlags& flags) {
  if (flags.checkpoints.size() > 1) {
    throw WrongUsage("eval: --certify takes one --checkpoint, got " +
                     std::to_string(flags.checkpoints.size()));
  }
  const PacketCertificate certificate = certify_packet(
      read_file(flags.packet), flags.checkpoints.empty() ? "" : flags.checkpoints[0]);
  flags.json ? print_result(to_json(certificate)) : print_result(to_text(certificate));
  return certificate.uncertified > 0 ? kGateNotMet : kDone;
}

// Whether costs are asked for. Both targets are read, so that a mistake shows before hours of work.
bool wants_cost(const EvalRecipe& options, Console& console) {
  if (options.cost.sender_target.empty() && options.cost.receiver_target.empty()) return false;
  read_cost_setting(options.cost);
  if (!options.ladder.tokens.empty()) return true;
  console.warning("costs are those of a ladder's rows: without ladder.tokens none are estimated");
  return false;
}

// What is asked of the two models beside the reconstruction of caches; both share one identity
// gate.
struct ModelRuns {
  std::optional<Ladder> ladder;
  std::optional<TaskSuccess> task;
  std::vector<GateResult> gates;
};

// Opens both before anything is measured, so that a mistake shows at once.
ModelRuns open_runs(const EvalRecipe& options, Console& console) {
  const EvaluateProgress batches = progress_of(console, "batches");
  ModelRuns runs;
  if (!options.ladder.tokens.empty()) {
    runs.ladder.emplace(Ladder::open(options.recipe, options.evaluate, options.ladder, batches));
  }
  if (!options.task.file.empty()) {
    runs.task.emplace(
        TaskSuccess::open(options.recipe, options.evaluate, options.ladder, options.task, batches));
  }
  const EvaluateProgress checks = progress_of(console, "checks");
  if (runs.ladder) {
    runs.gates = runs.ladder->check_identity(transport_by_file, checks);
  } else if (runs.task) {
    runs.gates = runs.task->check_identity(transport_by_file, checks);
  }
  return runs;
}

// False where the user stopped it.
bool measure_runs(const EvalRecipe& options, const ModelRuns& runs, bool with_cost, Report& report,
                  Console& console) {
  const auto stop = [] { return interrupt_signal() != 0; };
  if (runs.ladder) {
    report.ladder =
        runs.ladder->climb({.progress = progress_of(console, "sequences"), .stop_requested = stop});
    if (report.ladder->interrupted) return false;
    report.ladder->gates = runs.gates;
    if (with_cost) report.cost = runs.ladder->estimate_cost(options.cost, *report.ladder);
    for (const std::string& warning : report.ladder->warnings) console.warning(warning);
  }
  if (runs.task) {
    report.task_success = runs.task->measure(progress_of(console, "texts"), stop);
    if (report.task_success->interrupted) return false;
    report.task_success->gates = runs.gates;
    for (const std::string& warning : report.task_success->warnings) console.warning(warning);
  }
  return true;
}

int eval(const EvalRecipe& options, const Flags& flags) {
  Console console;
  console.start("eval", use_device(options.recipe), source_text(flags));
  const bool with_cost = wants_cost(options, console);
  const ModelRuns runs = open_runs(options, console);
  if (!tell(runs.gates, console)) return kGateNotMet;
  Report report = evaluate(options.recipe, options.evaluate, progress_of(console, "batches"));
  if (runs.ladder || runs.task) catch_interrupts();
  if (!measure_runs(options, runs, with_cost, report, console)) {
    console.warning("stopped; the same command goes on from what is in " + options.evaluate.output);
    return 128 + interrupt_signal();
  }
  for (const std::string& warning : report.warnings) console.warning(warning);
  write_report(report, options.evaluate.output);
  console.info("report.json, report.md and report.html are in " + options.evaluate.output);
  flags.json ? print_result(to_json(report)) : print_result(to_text(report));
  const bool certified =
      !report.certificates || report.certificates->gate.verdict == Verdict::kPassed;
  if (!certified) console.error("certificates: " + report.certificates->gate.why);
  return certified && (!report.ladder || report.ladder->gate.passed) ? kDone : kGateNotMet;
}

}  // namespace

void add_eval(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("eval", "measures checkpoints on held-out sequences");
  auto flags = std::make_shared<EvalFlags>();
  add_flags(*command, *flags, [] { return options_help(EvalRecipe()); });
  command
      ->add_option("--checkpoint", flags->checkpoints,
                   "PATH or NAME=PATH, repeatable (before=A and after=B show what fine-tuning "
                   "did); default: "
                   "the run folder's checkpoint")
      ->type_name("PATH")
      ->allow_extra_args(false);
  command
      ->add_option("--output", flags->output,
                   "folder of report.json, report.md and report.html; default: the run folder")
      ->type_name("DIR");
  command
      ->add_option("--certify", flags->packet,
                   "a packet: prints what its codes prove, with the bounds of a --checkpoint where "
                   "one is given, and nothing else; exit code 3 where a number is uncertified")
      ->type_name("PACKET");
  command->callback([=, &chosen] {
    chosen = [=] {
      if (!flags->packet.empty()) return certify(*flags);
      return run_with_recipe<EvalRecipe>(
          *flags,
          [&](EvalRecipe& options) {
            if (!flags->checkpoints.empty()) options.evaluate.checkpoints = flags->checkpoints;
            if (!flags->output.empty()) options.evaluate.output = flags->output;
            add_run_defaults(options);
          },
          [&](const EvalRecipe& options) { return eval(options, *flags); });
    };
  });
}

}  // namespace kvalign::tools
