// kvalign bench: times projection, caches, codec and training beside their baselines and the
// machine's limits.
#include "kvalign/benchmark/benchmark.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "command.h"
#include "console.h"
#include "interrupt.h"
#include "kvalign/core/device.h"
#include "kvalign/train/append_file.h"

namespace kvalign::tools {
namespace {

struct BenchFlags : Flags {
  benchmark::BenchmarkOptions given;  // of which a flag that is not given leaves its field empty
  std::string device;
  int64_t threads = 0;
};

// Results as they come: tables or JSON lines on stdout, JSON lines in the file.
class BenchResults {
 public:
  BenchResults(const std::string& output, bool json) : json_(json) {
    if (!output.empty()) file_.emplace(output, /*keep_bytes=*/0);
  }

  // `text` may be empty: a line for machines alone.
  void add(const nlohmann::json& line, const std::string& text) {
    if (file_) file_->append(line.dump() + "\n");
    if (json_) print_result(line.dump());
    if (!json_ && !text.empty()) print_result(text);
  }

  void add(const std::vector<benchmark::Measurement>& rows) {
    for (const benchmark::Measurement& row : rows) add(benchmark::to_json(row), "");
    if (!json_) print_result(benchmark::to_text(rows) + "\n");
  }

 private:
  bool json_;
  std::optional<AppendFile> file_;
};

std::string limits_text(const benchmark::Limits& limits) {
  const std::string empty_kernel = std::isnan(limits.empty_kernel_seconds)
                                       ? ""
                                       : fmt::format(", an empty kernel in a graph {:.2f} us",
                                                     1e6 * limits.empty_kernel_seconds);
  return fmt::format(
      "limits: copy {:.1f} GB/s read and written, float32 {:.0f} GFLOP/s, bfloat16 {:.0f} GFLOP/s, "
      "an empty call {:.2f} us{}\n\n",
      1e-9 * limits.copy_bytes_per_second, 1e-9 * limits.float32_flops_per_second,
      1e-9 * limits.bfloat16_flops_per_second, 1e6 * limits.empty_call_seconds, empty_kernel);
}

// Processes that ran or waited for a CPU in the last minute, before this one did; 0 where unknown.
double load_before(Console& console) {
  constexpr double kQuiet = 0.5;
  double load = 0;
  if (getloadavg(&load, 1) != 1) return 0;
  if (load > kQuiet) {
    console.warning(fmt::format(
        "the machine is busy (load average {:.1f}): pinned threads then wait for their turn on a "
        "CPU, and figures are the scheduler's, whatever the A/A pair says",
        load));
  }
  return load;
}

int bench(const BenchRecipe& options, const Flags& flags) {
  Console console;
  const Machine machine = use_device(options.recipe);
  console.start("bench", machine, source_text(flags));
  catch_interrupts();
  const double load = load_before(console);
  BenchResults results(options.benchmark.output, flags.json);
  const benchmark::BenchmarkControl control{
      .on_limits =
          [&](const benchmark::Limits& limits) {
            results.add({{"machine", to_json(machine)},
                         {"load_average", load},
                         {"limits", benchmark::to_json(limits)}},
                        limits_text(limits));
          },
      .on_case = [&](int64_t done, int64_t total,
                     const std::string& name) { console.progress("bench", done, total, name); },
      .on_rows = [&](const auto& rows) { results.add(rows); },
      .on_skipped = [&](const std::string& text) { console.warning("not measured: " + text); },
      .stop_requested = [] { return interrupt_signal() != 0; }};
  bool finished = false;
  try {
    finished =
        benchmark::run_benchmark(options.benchmark, resolve_device(options.recipe.device), control);
  } catch (const std::invalid_argument& error) {
    throw WrongUsage(error.what());
  }
  const int64_t peak = benchmark::peak_memory_bytes();
  results.add({{"peak_memory_bytes", peak}}, fmt::format("peak memory of the process: {:.2f} GB",
                                                         1e-9 * static_cast<double>(peak)));
  if (finished) return kDone;
  console.warning("stopped; what was measured so far is complete");
  return 128 + interrupt_signal();
}

void add_bench_flags(CLI::App& command, BenchFlags& flags) {
  benchmark::BenchmarkOptions& given = flags.given;
  command.add_option("--suite", given.suites, "measures this one alone; repeatable")
      ->type_name("NAME")
      ->allow_extra_args(false);
  command.add_option("--filter", given.filter, "measures only cases whose name holds this text")
      ->type_name("TEXT");
  command.add_option("--device", flags.device, "auto, cpu, cuda or cuda:N")->type_name("DEVICE");
  command.add_option("--threads", flags.threads, "CPU threads, each on a CPU of its own")
      ->type_name("N");
  command.add_option("--rounds", given.rounds, "in which variants take turns, at least 5")
      ->type_name("N");
  command.add_option("--receiver", given.receiver, "Hugging Face folder, for the cache's prefill")
      ->type_name("DIR");
  command.add_option("--output", given.output, "gets a line of JSON for each measurement")
      ->type_name("FILE");
}

void add_given(const BenchFlags& flags, BenchRecipe& options) {
  const benchmark::BenchmarkOptions& given = flags.given;
  if (!flags.device.empty()) options.recipe.device = flags.device;
  if (flags.threads != 0) options.recipe.threads = flags.threads;
  if (!given.suites.empty()) options.benchmark.suites = given.suites;
  if (!given.filter.empty()) options.benchmark.filter = given.filter;
  if (given.rounds != 0) options.benchmark.rounds = given.rounds;
  if (!given.receiver.empty()) options.benchmark.receiver = given.receiver;
  if (!given.output.empty()) options.benchmark.output = given.output;
}

}  // namespace

void add_bench(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("bench", "times what kvalign does beside baselines and limits");
  auto flags = std::make_shared<BenchFlags>();
  flags->given.rounds = 0;
  add_flags(*command, *flags, [] { return options_help(BenchRecipe()); });
  add_bench_flags(*command, *flags);
  command->callback([=, &chosen] {
    chosen = [=] {
      return run_with_recipe<BenchRecipe>(
          *flags, [&](BenchRecipe& options) { add_given(*flags, options); },
          [&](const BenchRecipe& options) { return bench(options, *flags); });
    };
  });
}

}  // namespace kvalign::tools
