// A linear map whose weights are frozen and may be stored in half the bytes: activations are
// float32, weights are turned into float32 a few rows at a time, so that a model is never held
// twice. Not for training weights.
#pragma once

#include <ATen/core/Tensor.h>

#include "kvalign/format/export.h"

namespace kvalign {

/// input [.., F] float32, weight [D, F] float32, bfloat16 or float16, bias [D] float32 or
/// undefined, all on one device. Returns input weight^T + bias, [.., D] float32. Gradients flow to
/// `input` alone. Throws c10::Error for other shapes, dtypes and devices.
KVALIGN_API at::Tensor frozen_linear(const at::Tensor& input, const at::Tensor& weight_DF,
                                     const at::Tensor& bias_D = {});

}  // namespace kvalign
