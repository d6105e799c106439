// Memory for a large result. Pages of 4 KiB cost a fault each when they are first written: for 100
// MB that takes as long as a fifth of the matrix product that writes them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace kvalign {

/// malloc keeps what is smaller than this for the next call (DEFAULT_MMAP_THRESHOLD_MAX of glibc).
inline constexpr int64_t kMappedBytes = int64_t{32} << 20;

/// As at::empty. On Linux, a CPU tensor that malloc takes from the system anew (32 MiB and more) is
/// made of huge pages where the system has them on request.
at::Tensor fresh_tensor(at::IntArrayRef sizes, const at::TensorOptions& options);

}  // namespace kvalign
