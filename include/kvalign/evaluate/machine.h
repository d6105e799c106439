// The machine and build that made a report's numbers. Read when asked; nothing is cached or
// measured.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kvalign/format/export.h"

namespace kvalign {

struct Machine {
  std::string cpu = {};       ///< model name as /proc/cpuinfo has it; "unknown" elsewhere
  int64_t num_cpus = 0;       ///< logical CPUs that this process may use
  int64_t num_threads = 0;    ///< that LibTorch uses inside one operation
  std::string device = {};    ///< that the numbers are computed on, e.g. "cpu", "cuda:0"
  std::string libtorch = {};  ///< version
  std::string compiler = {};  ///< name and version
  std::string build = {};     ///< "optimised" or "debug"
  std::string kvalign = {};   ///< version
};

KVALIGN_API Machine describe_machine(const std::string& device);
KVALIGN_API nlohmann::json to_json(const Machine& machine);

}  // namespace kvalign
