// RAPL, the energy counters of Intel's and AMD's processors, as Linux shows them:
//   class/powercap/intel-rapl:0/{name, energy_uj, max_energy_range_uj}
// Source: the kernel's Documentation/power/powercap/powercap.rst. Packages are counted; their parts
// (core, uncore) are in them, and memory (dram), which few machines count, is left out.
#include <limits>

#include "energy_counter.h"

namespace kvalign {
namespace {

class RaplPackage : public EnergyCounter {
 public:
  RaplPackage(std::string name, std::string energy_path, int64_t last, int64_t range)
      : name_("RAPL " + std::move(name)),
        energy_path_(std::move(energy_path)),
        last_(last),
        range_(range) {}

  double joules() override {
    const std::optional<int64_t> now = read_sysfs_number(energy_path_);
    if (!now) failed_ = true;
    if (failed_) return std::numeric_limits<double>::quiet_NaN();
    // Beyond its range the counter starts again from 0.
    microjoules_ += *now >= last_ ? *now - last_ : range_ - last_ + *now;
    last_ = *now;
    return 1e-6 * static_cast<double>(microjoules_);
  }
  std::string name() const override { return name_; }
  // The counter moves once a millisecond.
  double shortest_seconds() const override { return 0.02; }

 private:
  std::string name_;
  std::string energy_path_;
  int64_t last_;
  int64_t range_;
  int64_t microjoules_ = 0;
  bool failed_ = false;
};

}  // namespace

FoundCounters find_rapl(const std::string& sysfs) {
  const std::string parent = sysfs + "/class/powercap";
  FoundCounters found;
  for (const std::string& folder : sysfs_folders(parent, "intel-rapl:")) {
    const std::string name = read_sysfs_line(folder + "/name");
    if (name.rfind("package-", 0) != 0) continue;
    const std::string energy_path = folder + "/energy_uj";
    const std::optional<int64_t> energy = read_sysfs_number(energy_path);
    const std::optional<int64_t> range = read_sysfs_number(folder + "/max_energy_range_uj");
    if (!energy || !range) {
      return {.why_none = "RAPL of " + name + " cannot be read (" + folder +
                          "/energy_uj and max_energy_range_uj; reading them is root's alone unless "
                          "root allows it)"};
    }
    found.counters.push_back(std::make_unique<RaplPackage>(name, energy_path, *energy, *range));
  }
  if (found.counters.empty()) found.why_none = "no RAPL package in " + parent;
  return found;
}

}  // namespace kvalign
