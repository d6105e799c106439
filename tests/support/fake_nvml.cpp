// A stand-in for libnvidia-ml.so.1: a GPU that draws 250 mJ between two readings. The environment
// makes it fail: FAKE_NVML_INIT, FAKE_NVML_HANDLE and FAKE_NVML_ENERGY are what those functions
// return, FAKE_NVML_COUNT how many GPUs there are. Declared as NVIDIA's nvml.h does.
#include <cstdlib>

namespace {

int environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

}  // namespace

extern "C" {

int nvmlInit_v2() {
  return environment("FAKE_NVML_INIT", 0);
}

int nvmlShutdown() {
  return 0;
}

int nvmlDeviceGetCount_v2(unsigned int* count) {
  *count = static_cast<unsigned int>(environment("FAKE_NVML_COUNT", 1));
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int, void** device) {
  static char the_device;
  *device = &the_device;
  return environment("FAKE_NVML_HANDLE", 0);
}

int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long* millijoules) {
  static unsigned long long energy = 1'000'000;
  *millijoules = energy += 250;
  return environment("FAKE_NVML_ENERGY", 0);
}

}  // extern "C"
