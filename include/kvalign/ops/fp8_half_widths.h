// certify_codes (bounds/quantisation_bound.h) of tensors: how far the numbers behind FP8 codes may
// be from what the codes say.
//
// Shapes:  S streams   T tokens   D width = kv heads * head dim
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kvalign/bounds/quantisation_bound.h"
#include "kvalign/format/export.h"
#include "kvalign/ops/fp8_wire.h"

namespace kvalign {

struct Fp8HalfWidths {
  at::Tensor half_widths_STD;  ///< float64, in units of the values; infinity where unbounded
  int64_t num_unbounded = 0;
};

/// codes_STD: uint8 on the CPU; scales: float32 of each stream in the order of the granularity,
/// [S, ...]. Blocks run along the whole width, as Fp8Quantizer has them. Throws
/// std::invalid_argument as certify_codes.
KVALIGN_API Fp8HalfWidths fp8_half_widths(const at::Tensor& codes_STD, const at::Tensor& scales,
                                          const Fp8Wire& wire, int64_t num_kv_heads,
                                          ScaleOrigin origin);

}  // namespace kvalign
