// The sums over the rows of two tensors that losses and distances are made of, from one pass over
// both, and their gradient from another.
//
// Shapes: R streams, T tokens, D numbers of a row
#pragma once

#include <ATen/core/Tensor.h>

#include "kvalign/format/export.h"

namespace kvalign {

/// Of each row, a sum over its D numbers: float64 [R, T].
struct RowProducts {
  at::Tensor first_squares;   ///< of first^2
  at::Tensor second_squares;  ///< of second^2
  at::Tensor products;        ///< of first * second
  at::Tensor differences;     ///< of (first - second)^2
};

/// Two tensors [R, T, D] of one floating-point dtype and device, with any strides. Gradients flow
/// to the first alone. Throws c10::Error where they differ.
KVALIGN_API RowProducts row_products(const at::Tensor& first_RTD, const at::Tensor& second_RTD);

}  // namespace kvalign
