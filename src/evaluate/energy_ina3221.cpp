// The INA3221 power monitors of Jetson modules, as Linux' hwmon shows them:
//   bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/{in1_label, in1_input (mV), curr1_input (mA), ...}
// Source: the kernel's Documentation/hwmon/ina3221.rst. They show power; a thread samples it, and
// energy is its integral over time by trapezoids: sampled, not counted by the hardware.
#include <chrono>
#include <limits>
#include <map>
#include <mutex>
#include <thread>

#include "energy_counter.h"

namespace kvalign {
namespace {

constexpr auto kSamplePeriod = std::chrono::milliseconds(5);

// Rails that together feed the module, by the labels that its device tree gives them. Others are
// parts of these. The Jetson Nano's kernel shows its monitor in another way (iio) and is not read.
// Source: NVIDIA's Jetson Linux Developer Guide, "Platform Power and Performance".
const std::vector<std::vector<std::string>> kModuleRails = {
    {"VDD_IN"},                                     // Orin Nano, Orin NX, Xavier NX
    {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"}};  // AGX Orin

struct Rail {
  std::string millivolts_path, milliamperes_path;
};

class RailSampler : public EnergyCounter {
 public:
  RailSampler(std::string name, std::vector<Rail> rails)
      : name_("INA3221 " + std::move(name)), rails_(std::move(rails)) {
    sample();
    thread_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        std::this_thread::sleep_for(kSamplePeriod);
        sample();
      }
    });
  }

  double joules() override { return sample(); }
  std::string name() const override { return name_; }
  double shortest_seconds() const override { return 0.1; }

 private:
  using Clock = std::chrono::steady_clock;

  // NaN once a rail could not be read.
  double watts() const {
    double sum = 0;
    for (const Rail& rail : rails_) {
      const std::optional<int64_t> millivolts = read_sysfs_number(rail.millivolts_path);
      const std::optional<int64_t> milliamperes = read_sysfs_number(rail.milliamperes_path);
      if (!millivolts || !milliamperes) return std::numeric_limits<double>::quiet_NaN();
      sum += 1e-6 * static_cast<double>(*millivolts) * static_cast<double>(*milliamperes);
    }
    return sum;
  }

  // Adds what was drawn since the last sample; returns the sum.
  double sample() {
    const std::lock_guard lock(mutex_);
    const double watts_now = watts();
    const Clock::time_point now = Clock::now();
    if (last_time_) {
      const double seconds = std::chrono::duration<double>(now - *last_time_).count();
      joules_ += seconds * (last_watts_ + watts_now) / 2;
    }
    last_time_ = now;
    last_watts_ = watts_now;
    return joules_;
  }

  std::string name_;
  std::vector<Rail> rails_;
  std::mutex mutex_;
  std::optional<Clock::time_point> last_time_;
  double last_watts_ = 0;
  double joules_ = 0;
  std::jthread thread_;  // last, so that it ends before what it uses
};

// All labelled channels of all monitors.
std::map<std::string, Rail> labelled_rails(const std::string& drivers) {
  std::map<std::string, Rail> rails;
  for (const std::string& device : sysfs_folders(drivers, "")) {
    for (const std::string& folder : sysfs_folders(device + "/hwmon", "hwmon")) {
      for (const char* channel : {"1", "2", "3"}) {
        const std::string label = read_sysfs_line(folder + "/in" + channel + "_label");
        if (label.empty()) continue;
        rails[label] = {folder + "/in" + channel + "_input", folder + "/curr" + channel + "_input"};
      }
    }
  }
  return rails;
}

std::string names_of(const std::map<std::string, Rail>& rails) {
  std::string names;
  for (const auto& [name, rail] : rails) names += (names.empty() ? "" : ", ") + name;
  return names;
}

}  // namespace

FoundCounters find_ina3221(const std::string& sysfs) {
  const std::string drivers = sysfs + "/bus/i2c/drivers/ina3221";
  const std::map<std::string, Rail> known = labelled_rails(drivers);
  if (known.empty()) return {.why_none = "no INA3221 in " + drivers};
  for (const std::vector<std::string>& names : kModuleRails) {
    std::vector<Rail> rails;
    std::string text;
    for (const std::string& name : names) {
      if (!known.contains(name)) break;
      rails.push_back(known.at(name));
      text += (text.empty() ? "" : " + ") + name;
    }
    if (rails.size() < names.size()) continue;
    for (const Rail& rail : rails) {
      if (!read_sysfs_number(rail.millivolts_path) || !read_sysfs_number(rail.milliamperes_path)) {
        return {.why_none = "INA3221: cannot read " + rail.millivolts_path + " and " +
                            rail.milliamperes_path};
      }
    }
    FoundCounters found;
    found.counters.push_back(std::make_unique<RailSampler>(text, std::move(rails)));
    return found;
  }
  return {.why_none =
              "INA3221: no known set of rails that feeds a whole module among " + names_of(known)};
}

}  // namespace kvalign
