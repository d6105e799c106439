// See fresh_tensor.h.
#include "fresh_tensor.h"

#include <ATen/ATen.h>

#include <cstdint>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace kvalign {
namespace {

constexpr uintptr_t kHugePageBytes = uintptr_t{2} << 20;

}  // namespace

at::Tensor fresh_tensor(at::IntArrayRef sizes, const at::TensorOptions& options) {
  at::Tensor tensor = at::empty(sizes, options);
#ifdef __linux__
  if (tensor.is_cpu() && static_cast<int64_t>(tensor.nbytes()) >= kMappedBytes) {
    const auto begin = reinterpret_cast<uintptr_t>(tensor.data_ptr());
    const uintptr_t first = (begin + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
    const uintptr_t last = (begin + tensor.nbytes()) / kHugePageBytes * kHugePageBytes;
    // Advice: a system that has no huge pages goes on without.
    madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
  }
#endif
  return tensor;
}

}  // namespace kvalign
