// One counter of energy, and the three places where counters are looked for. Private to evaluate/.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace kvalign {

class EnergyCounter {
 public:
  virtual ~EnergyCounter() = default;

  // Since the counter was opened; NaN where it cannot be read any more.
  virtual double joules() = 0;

  // "RAPL package-0".
  virtual std::string name() const = 0;

  // See EnergyMeter::shortest_seconds.
  virtual double shortest_seconds() const = 0;
};

// What a search found, or why that is nothing.
struct FoundCounters {
  std::vector<std::unique_ptr<EnergyCounter>> counters = {};
  std::string why_none = {};
};

// One counter a processor package, in the order of their numbers.
FoundCounters find_rapl(const std::string& sysfs);

// The rails that together feed a Jetson module, as one counter.
FoundCounters find_ina3221(const std::string& sysfs);

// The counter of the machine's GPU, where it has one.
FoundCounters find_nvml(const std::string& library);

// The whole number in a file of sysfs; none where it cannot be read or holds something else.
std::optional<int64_t> read_sysfs_number(const std::string& path);

// The first line of a file of sysfs; empty where it cannot be read.
std::string read_sysfs_line(const std::string& path);

// Folders of `parent` whose names begin with `prefix`, sorted; none where `parent` is not there.
std::vector<std::string> sysfs_folders(const std::string& parent, const std::string& prefix);

}  // namespace kvalign
