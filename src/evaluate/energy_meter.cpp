// Chooses counters and adds them up. See energy_meter.h.
#include "kvalign/evaluate/energy_meter.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "energy_counter.h"

namespace kvalign {
namespace {

void append(std::vector<std::unique_ptr<EnergyCounter>>& counters, FoundCounters found) {
  for (auto& counter : found.counters) counters.push_back(std::move(counter));
}

FoundCounters find_counters(const EnergyMeterOptions& options) {
  FoundCounters module = find_ina3221(options.sysfs);
  if (!module.counters.empty()) return module;
  FoundCounters processor = find_rapl(options.sysfs);
  if (options.gpu_works) {
    FoundCounters gpu = find_nvml(options.nvml_library);
    if (!gpu.counters.empty()) append(gpu.counters, std::move(processor));
    return gpu;
  }
  if (processor.counters.empty()) processor.why_none += "; " + module.why_none;
  return processor;
}

}  // namespace

EnergyMeter EnergyMeter::open(const EnergyMeterOptions& options) {
  FoundCounters found = find_counters(options);
  std::string source;
  for (const auto& counter : found.counters) {
    source += (source.empty() ? "" : ", ") + counter->name();
  }
  if (found.counters.empty()) source = "not measured: " + found.why_none;
  return {std::move(found.counters), std::move(source)};
}

EnergyMeter::EnergyMeter(std::vector<std::unique_ptr<EnergyCounter>> counters, std::string source)
    : counters_(std::move(counters)), source_(std::move(source)) {}
EnergyMeter::~EnergyMeter() = default;
EnergyMeter::EnergyMeter(EnergyMeter&&) noexcept = default;

double EnergyMeter::joules() {
  if (!measures()) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (const auto& counter : counters_) sum += counter->joules();
  return sum;
}

double EnergyMeter::shortest_seconds() const {
  double longest = 0;
  for (const auto& counter : counters_) longest = std::max(longest, counter->shortest_seconds());
  return longest;
}

MeasuredWork measure(EnergyMeter& meter, const std::function<void()>& work) {
  const double shortest = meter.measures() ? meter.shortest_seconds() : 0;
  const double joules = meter.joules();
  const auto start = std::chrono::steady_clock::now();
  std::chrono::duration<double> time{};
  double runs = 0;
  do {
    work();
    ++runs;
    time = std::chrono::steady_clock::now() - start;
  } while (time.count() < shortest);
  return {.seconds = time.count() / runs, .joules = (meter.joules() - joules) / runs};
}

}  // namespace kvalign
