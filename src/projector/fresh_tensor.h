// Memory for a large result. Pages of 4 KiB cost a fault each when they are first written: for 100
// MB that takes as long as a fifth of the matrix product that writes them.
#pragma once

#include <ATen/core/Tensor.h>

namespace kvalign {

/// As at::empty. On Linux, a CPU tensor that malloc takes from the system anew (32 MiB and more) is
/// made of huge pages where the system has them on request.
at::Tensor fresh_tensor(at::IntArrayRef sizes, const at::TensorOptions& options);

}  // namespace kvalign
