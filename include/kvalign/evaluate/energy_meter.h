// Joules that this machine draws while it works, from counters that its maker put there: RAPL
// (Intel and AMD processors, through Linux' powercap), NVML (NVIDIA's GPUs), INA3221 (Jetson's
// power rails). Where there is none, energy is not measured, and the meter says why; a power limit
// times a time is never called energy. Free of LibTorch.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

struct EnergyMeterOptions {
  std::string sysfs = "/sys";
  std::string nvml_library = "libnvidia-ml.so.1";  ///< of the driver; opened when it is needed
  bool gpu_works = false;                          ///< an NVIDIA GPU does; else the processor alone
};

class EnergyCounter;

class KVALIGN_API EnergyMeter {
 public:
  /// Looks for counters, in this order: a Jetson's rails, which hold all of the module; for work on
  /// a GPU its NVML counter, and RAPL beside it where that can be read; else RAPL. source() says
  /// which it is. Nothing is measured where some package or rail of several cannot be read, and
  /// where the machine has several GPUs, which CUDA and NVML number in different ways.
  static EnergyMeter open(const EnergyMeterOptions& options = {});
  ~EnergyMeter();
  EnergyMeter(EnergyMeter&&) noexcept;

  bool measures() const { return !counters_.empty(); }

  /// What is counted, "RAPL package-0, RAPL package-1", or "not measured: " and why.
  const std::string& source() const { return source_; }

  /// Since the meter was opened; NaN where nothing is measured, and from the first failure of a
  /// counter on. RAPL's counters start again from 0 within minutes under load; ask more often.
  double joules();

  /// Counters move in steps; over less than this, about twenty of them, they say nothing.
  double shortest_seconds() const;

 private:
  EnergyMeter(std::vector<std::unique_ptr<EnergyCounter>> counters, std::string source);
  std::vector<std::unique_ptr<EnergyCounter>> counters_;
  std::string source_;
};

/// How long some work takes, and what the machine draws meanwhile, for whatever else it does: the
/// mean of as many runs as the meter needs for its shortest time; one where nothing is measured.
struct MeasuredWork {
  double seconds = 0;
  double joules = 0;  ///< NaN where not measured
};
KVALIGN_API MeasuredWork measure(EnergyMeter& meter, const std::function<void()>& work);

}  // namespace kvalign
