// The fastest copy that a device has. Private to benchmark/.
#pragma once

#include <ATen/core/Tensor.h>

namespace kvalign::benchmark {

// Of uint8 tensors of the same size on one device. CPU: memcpy on all threads, which writes large
// blocks past the caches; at::Tensor::copy_ does not.
void copy_bytes(const at::Tensor& from, const at::Tensor& to);

}  // namespace kvalign::benchmark
