// cuBLASLt's matrix product with the bias as its epilogue, by one of the algorithms that its
// heuristics propose. Private to benchmark/; in builds without CUDA there is none.
//
// Shapes:  G groups   T tokens   F features   O outputs
#pragma once

#include "product.h"

namespace kvalign::benchmark {

/// Of so many algorithms one is chosen; for a small product there are fewer.
inline constexpr int kMostLtAlgorithms = 16;

/// The algorithm in that place of the library's own order, from 1, with a workspace of at most 32
/// MiB; several groups are one strided batch, the bias too. float32 (multiplied as such, not as
/// TF32) and bfloat16 (summed in float32). Features are contiguous. Throws c10::Error for a tensor
/// of another device, a place beyond the last, and whatever the library refuses, in its words.
Product make_lt_product(int place, const at::Tensor& weight_GOF, const at::Tensor& bias_GO,
                        int64_t num_tokens);

}  // namespace kvalign::benchmark
