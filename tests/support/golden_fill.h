// The integer formula of tests/golden/seed_losses.json: tensors that Python and C++ make alike, to
// the last bit.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "kvalign/core/random.h"

namespace kvalign::testing {

// float32, row-major: element i is scale * (n - 2^23) * 2^-23, n the upper 24 bits of output i.
inline at::Tensor golden_fill(at::IntArrayRef shape, uint64_t seed, double scale) {
  at::Tensor tensor = at::empty(shape);
  auto* data = tensor.data_ptr<float>();
  Random random(seed);
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    const auto number = static_cast<int64_t>(random.bits() >> 40) - (int64_t{1} << 23);
    data[i] = static_cast<float>(static_cast<double>(number) * 0x1p-23 * scale);
  }
  return tensor;
}

// Small float64 inputs for gradient checks and references, in [-scale, scale).
inline at::Tensor golden_double(at::IntArrayRef shape, uint64_t seed, double scale = 1.0) {
  return golden_fill(shape, seed, scale).to(at::kDouble);
}

}  // namespace kvalign::testing
