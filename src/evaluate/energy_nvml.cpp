// NVML's count of the millijoules that a GPU has drawn since its driver was loaded. The driver's
// library is opened at run time, so that neither the toolkit nor a GPU is needed to build or start.
// Source: NVIDIA's NVML API Reference Guide, nvmlDeviceGetTotalEnergyConsumption (Volta and later).
#include <dlfcn.h>

#include <limits>

#include "energy_counter.h"

namespace kvalign {
namespace {

// As nvml.h declares them; 0 is NVML_SUCCESS.
using NvmlDevice = struct nvmlDevice_st*;
using NvmlInit = int (*)();
using NvmlShutdown = int (*)();
using NvmlGetCount = int (*)(unsigned int*);
using NvmlGetHandle = int (*)(unsigned int, NvmlDevice*);
using NvmlGetEnergy = int (*)(NvmlDevice, unsigned long long*);

struct CloseLibrary {
  void operator()(void* library) const { dlclose(library); }
};

// The library, started, and the machine's only GPU.
class Nvml {
 public:
  explicit Nvml(const std::string& library) : library_(dlopen(library.c_str(), RTLD_NOW)) {
    if (!library_) {
      problem_ = "cannot open " + library + " of NVIDIA's driver";
      return;
    }
    const auto init = function<NvmlInit>("nvmlInit_v2");
    const auto get_count = function<NvmlGetCount>("nvmlDeviceGetCount_v2");
    const auto get_handle = function<NvmlGetHandle>("nvmlDeviceGetHandleByIndex_v2");
    const auto shutdown = function<NvmlShutdown>("nvmlShutdown");
    get_energy_ = function<NvmlGetEnergy>("nvmlDeviceGetTotalEnergyConsumption");
    if (!init || !get_count || !get_handle || !shutdown || !get_energy_) {
      problem_ = library + " lacks a function that counts energy";
    } else if (const int code = init(); code != 0) {
      problem_ = "nvmlInit fails with code " + std::to_string(code);
    } else {
      shutdown_ = shutdown;
      find_device(get_count, get_handle);
    }
  }
  ~Nvml() {
    if (shutdown_) shutdown_();
  }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  // Empty where all is well.
  const std::string& problem() const { return problem_; }

  std::optional<unsigned long long> millijoules() const {
    unsigned long long energy = 0;
    if (get_energy_(device_, &energy) != 0) return std::nullopt;
    return energy;
  }

 private:
  template <class Function>
  Function function(const char* name) const {
    return reinterpret_cast<Function>(dlsym(library_.get(), name));
  }

  void find_device(NvmlGetCount get_count, NvmlGetHandle get_handle) {
    unsigned int count = 0;
    if (get_count(&count) != 0 || count != 1) {
      problem_ = "expected one GPU, got " + std::to_string(count);
    } else if (get_handle(0, &device_) != 0) {
      problem_ = "the GPU does not answer";
    }
  }

  std::unique_ptr<void, CloseLibrary> library_;
  NvmlShutdown shutdown_ = nullptr;  // none where it was not started
  NvmlGetEnergy get_energy_ = nullptr;
  NvmlDevice device_ = nullptr;
  std::string problem_;
};

class NvmlCounter : public EnergyCounter {
 public:
  NvmlCounter(std::unique_ptr<const Nvml> nvml, unsigned long long start)
      : nvml_(std::move(nvml)), start_(start) {}

  double joules() override {
    const std::optional<unsigned long long> now = nvml_->millijoules();
    failed_ = failed_ || !now || *now < start_;  // below: it began again, with the driver
    if (failed_) return std::numeric_limits<double>::quiet_NaN();
    return 1e-3 * static_cast<double>(*now - start_);
  }
  std::string name() const override { return "NVML GPU"; }
  // The counter moves every 20 to 100 ms, by the card.
  double shortest_seconds() const override { return 2; }

 private:
  std::unique_ptr<const Nvml> nvml_;
  unsigned long long start_;
  bool failed_ = false;
};

}  // namespace

FoundCounters find_nvml(const std::string& library) {
  auto nvml = std::make_unique<const Nvml>(library);
  if (!nvml->problem().empty()) return {.why_none = "NVML: " + nvml->problem()};
  const std::optional<unsigned long long> start = nvml->millijoules();
  if (!start) return {.why_none = "NVML: the GPU does not count its energy"};
  FoundCounters found;
  found.counters.push_back(std::make_unique<NvmlCounter>(std::move(nvml), *start));
  return found;
}

}  // namespace kvalign
