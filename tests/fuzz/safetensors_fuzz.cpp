// Feeds bytes to the safetensors reader: whatever they are, it either reads them or throws
// c10::Error. The entry point is libFuzzer's (clang++ -fsanitize=fuzzer); tests/fuzz/mutate.cpp
// drives it with g++.
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kvalign/core/safetensors.h"

namespace {

// A file in memory, emptied and filled again for each input.
int memory_file() {
  static const int descriptor = ::memfd_create("safetensors", MFD_CLOEXEC);
  if (descriptor < 0) throw std::runtime_error("memfd_create failed");
  return descriptor;
}

// Sums the first and last byte of every tensor, so that the sanitiser sees all ranges that are
// handed out.
uint64_t touch_everything(const kvalign::SafetensorsFile& file) {
  uint64_t sum = 0;
  for (const auto& [name, info] : file.tensors()) {
    const at::Tensor tensor = file.tensor(name);
    if (tensor.numel() == 0) continue;
    const auto* bytes = static_cast<const uint8_t*>(tensor.data_ptr());
    sum += bytes[0] + bytes[tensor.nbytes() - 1];
  }
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const int descriptor = memory_file();
  if (::ftruncate(descriptor, 0) != 0 ||
      ::pwrite(descriptor, bytes, size, 0) != static_cast<ssize_t>(size)) {
    throw std::runtime_error("cannot fill the memory file");
  }
  try {
    volatile uint64_t sum = touch_everything(
        kvalign::SafetensorsFile::open("/proc/self/fd/" + std::to_string(descriptor)));
    (void)sum;
  } catch (const c10::Error&) {
    // The one way in which the reader may refuse.
  }
  return 0;
}
