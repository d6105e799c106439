// See threads.h.
#include "threads.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace kvalign::benchmark {
namespace {

std::vector<int> usable_cpus() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(usable), &usable) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &usable)) cpus.push_back(cpu);
  }
  return cpus;
}

}  // namespace

void pin_threads() {
  const std::vector<int> cpus = usable_cpus();
  const auto threads = static_cast<size_t>(at::get_num_threads());
  if (threads > cpus.size()) {
    throw std::invalid_argument("threads: expected at most " + std::to_string(cpus.size()) +
                                ", one for each CPU that this process may use, got " +
                                std::to_string(threads) + ". Give --threads");
  }
  // As many pieces as threads: each thread takes the one with its number.
  at::parallel_for(0, static_cast<int64_t>(threads), 1, [&](int64_t begin, int64_t) {
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(cpus[static_cast<size_t>(begin)], &own);
    sched_setaffinity(0, sizeof(own), &own);
  });
}

}  // namespace kvalign::benchmark
