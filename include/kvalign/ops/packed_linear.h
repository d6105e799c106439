// A linear map whose weights lie as oneDNN wants them, once and for all: for a few to some hundred
// rows up to twice as fast as a product that prepares its weights in every call, for thousands as
// fast, for one row up to an eighth slower. It has no gradients.
//
// Shapes:  T rows   F features   O outputs
#pragma once

#include <ATen/core/Tensor.h>

#include "kvalign/format/export.h"

namespace kvalign {

class KVALIGN_API PackedLinear {
 public:
  /// Whether this LibTorch packs weights. Only those for x86-64 are asked: nothing else was tried.
  static bool is_available();

  /// weight_OF: float32 on the CPU, which need not be kept. bias_O: float32 on the CPU, or
  /// undefined. Throws c10::Error for other shapes, dtypes and devices, and where it is not
  /// available.
  PackedLinear(const at::Tensor& weight_OF, const at::Tensor& bias_O);

  /// float32 [T, F] -> [T, O], contiguous; T may be 0. Throws c10::Error for other features.
  at::Tensor run(const at::Tensor& features_TF) const;

 private:
  int64_t num_features_, num_outputs_;
  at::Tensor packed_;  ///< opaque: oneDNN's own layout
  at::Tensor bias_O_;
};

}  // namespace kvalign
