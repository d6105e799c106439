// Asks the system and the build who they are. See machine.h.
#include "kvalign/evaluate/machine.h"

#include <ATen/Parallel.h>
#include <sched.h>
#include <torch/version.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace kvalign {
namespace {

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

int64_t usable_cpus() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 0;
}

}  // namespace

Machine describe_machine(const std::string& device) {
  Machine machine{.cpu = cpu_model(),
                  .num_cpus = usable_cpus(),
                  .num_threads = at::get_num_threads(),
                  .device = device,
                  .libtorch = TORCH_VERSION,
#ifdef __clang__
                  .compiler = "Clang " __clang_version__,
#else
                  .compiler = "GCC " __VERSION__,
#endif
#ifdef NDEBUG
                  .build = "optimised",
#else
                  .build = "debug",
#endif
                  .kvalign = KVALIGN_VERSION};
  return machine;
}

nlohmann::json to_json(const Machine& machine) {
  return {{"cpu", machine.cpu},           {"num_cpus", machine.num_cpus},
          {"device", machine.device},     {"num_threads", machine.num_threads},
          {"libtorch", machine.libtorch}, {"compiler", machine.compiler},
          {"build", machine.build},       {"kvalign", machine.kvalign}};
}

}  // namespace kvalign
