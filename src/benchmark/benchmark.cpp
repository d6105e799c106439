// Suites one after the other. See kvalign/benchmark/benchmark.h.
#include "kvalign/benchmark/benchmark.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <sys/resource.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "kvalign/core/options.h"
#include "stopwatch.h"
#include "suites.h"
#include "threads.h"

namespace kvalign::benchmark {
namespace {

using MakeCases = std::vector<Case> (*)(const SuiteSetup&);

const std::vector<std::pair<std::string, MakeCases>>& suites() {
  static const std::vector<std::pair<std::string, MakeCases>> all = {
      {"projection", projection_cases},
      {"streams", streams_cases},
      {"cache", cache_cases},
      {"codec", codec_cases},
      {"training", training_cases}};
  return all;
}

std::vector<Case> chosen_cases(const BenchmarkOptions& options, const SuiteSetup& setup) {
  std::vector<Case> cases;
  for (const auto& [name, make] : suites()) {
    const bool chosen =
        options.suites.empty() ||
        std::find(options.suites.begin(), options.suites.end(), name) != options.suites.end();
    if (!chosen) continue;
    for (Case& item : make(setup)) {
      if (item.name.find(options.filter) != std::string::npos) cases.push_back(std::move(item));
    }
  }
  if (cases.empty()) {
    throw std::invalid_argument("benchmark.filter: expected a part of the name of a case, got '" +
                                options.filter + "', which is in none of the suites' names");
  }
  return cases;
}

template <class... Arguments>
void tell(const std::function<void(Arguments...)>& listener,
          const std::type_identity_t<Arguments>&... arguments) {
  if (listener) listener(arguments...);
}

}  // namespace

void BenchmarkOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "suites", .help = "what is measured; empty: all", .one_of = suite_names()},
                suites);
  visitor.field({"filter", "measures only cases whose name holds this text"}, filter);
  visitor.field({.name = "rounds",
                 .help = "in which variants take turns; fewer where they take long, at least 5",
                 .minimum = 5},
                rounds);
  visitor.field({"receiver", "Hugging Face folder of a model whose prefill a projection replaces"},
                receiver);
  visitor.field({"output", "JSON Lines file: the machine, then a line for each measurement"},
                output);
}

const std::vector<std::string>& suite_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& suite : suites()) all.push_back(suite.first);
    return all;
  }();
  return names;
}

bool run_benchmark(const BenchmarkOptions& options, at::Device device,
                   const BenchmarkControl& control) {
  const at::NoGradGuard no_gradients;
  const Stopwatch stopwatch = stopwatch_of(device);
  const std::vector<Case> cases = chosen_cases(
      options, {.device = device,
                .stopwatch = stopwatch,
                .receiver = options.receiver,
                .on_skipped = [&](const std::string& text) { tell(control.on_skipped, text); }});
  pin_threads();
  const Bench bench{.device = device,
                    .stopwatch = stopwatch,
                    .turns = {.rounds = options.rounds},
                    .limits = measure_limits(device, stopwatch),
                    .cache_bytes = last_cache_bytes(device),
                    .threads = at::get_num_threads()};
  tell(control.on_limits, bench.limits);
  const auto total = static_cast<int64_t>(cases.size());
  for (int64_t done = 0; done < total; ++done) {
    if (control.stop_requested && control.stop_requested()) return false;
    const Case& item = cases[static_cast<size_t>(done)];
    tell(control.on_case, done, total, item.suite + ": " + item.name);
    for (const auto& rows : run_case(item, bench)) tell(control.on_rows, rows);
  }
  return true;
}

int64_t peak_memory_bytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{1024} * usage.ru_maxrss;
}

}  // namespace kvalign::benchmark
