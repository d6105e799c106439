// Which device a recipe means.
#include "kvalign/core/device.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/util/Exception.h>

#include <charconv>
#include <string_view>

namespace kvalign {
namespace {

// The N of "cuda:N"; -1 where `text` is not such a number.
int64_t parse_index(std::string_view text) {
  int64_t index = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  return error == std::errc() && end == text.data() + text.size() ? index : -1;
}

}  // namespace

int64_t num_cuda_devices() {
  return at::detail::getCUDAHooks().deviceCount();
}

at::Device resolve_device(const std::string& name) {
  // Counting loads the driver, which "cpu" has no use for.
  return resolve_device(name, name == "cpu" ? 0 : num_cuda_devices());
}

at::Device resolve_device(const std::string& name, int64_t num_cuda_devices) {
  if (name == "cpu" || (name == "auto" && num_cuda_devices == 0)) return at::Device(at::kCPU);
  const bool has_index = name.rfind("cuda:", 0) == 0;
  const int64_t index = has_index ? parse_index(std::string_view(name).substr(5)) : 0;
  TORCH_CHECK(name == "auto" || name == "cuda" || (has_index && index >= 0), "device '", name,
              "': expected auto, cpu, cuda or cuda:N with N from 0");
  TORCH_CHECK(index < num_cuda_devices, "device '", name, "': this process sees ", num_cuda_devices,
              " CUDA device(s)",
              num_cuda_devices == 0
                  ? ". Use auto or cpu, or check the driver (nvidia-smi), CUDA_VISIBLE_DEVICES "
                    "and that kvalign was built with KVALIGN_CUDA=ON"
                  : ", the last one is cuda:" + std::to_string(num_cuda_devices - 1));
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

}  // namespace kvalign
