// The benchmark of `kvalign bench`: suites of cases, measured one after the other. Nothing is
// written here; whoever runs it gets rows as they are made.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kvalign/benchmark/limits.h"
#include "kvalign/benchmark/measurement.h"
#include "kvalign/format/export.h"

namespace kvalign {

class OptionVisitor;

namespace benchmark {

struct KVALIGN_API BenchmarkOptions {
  std::vector<std::string> suites = {};  ///< of suite_names(); empty: all
  std::string filter = {};               ///< measures only cases whose name holds this text
  int64_t rounds = 11;
  std::string receiver = {};  ///< Hugging Face folder, whose prefill a projection replaces
  std::string output = {};    ///< gets a line of JSON for each measurement

  void describe(OptionVisitor& visitor);
};

/// How a run is watched and stopped. All may be empty.
struct BenchmarkControl {
  std::function<void(const Limits& limits)> on_limits = {};
  /// Before a case: how many are done, of how many, and its name.
  std::function<void(int64_t done, int64_t total, const std::string& name)> on_case = {};
  std::function<void(const std::vector<Measurement>& rows)> on_rows = {};
  /// Something that is not measured, and why.
  std::function<void(const std::string& text)> on_skipped = {};
  std::function<bool()> stop_requested = {};  ///< asked before every case
};

/// projection, streams, cache, codec, training.
KVALIGN_API const std::vector<std::string>& suite_names();

/// Pins LibTorch's threads and the caller's, each to a CPU of its own, for the rest of the process:
/// at most as many as the process may use. Returns false where it was stopped. Throws
/// std::invalid_argument for more threads than CPUs and where the filter leaves no case, and
/// c10::Error as run_case.
KVALIGN_API bool run_benchmark(const BenchmarkOptions& options, at::Device device,
                               const BenchmarkControl& control = {});

/// Most bytes that the process has held in memory so far; of a device not.
KVALIGN_API int64_t peak_memory_bytes();

}  // namespace benchmark
}  // namespace kvalign
