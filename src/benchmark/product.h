// A matrix product with a bias and nothing else, in the fastest of LibTorch's and cuBLASLt's ways:
// the denominator of everything that is projected. Private to benchmark/.
//
// Shapes:  G groups   T tokens   F features   O outputs
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "kvalign/benchmark/turns.h"

namespace kvalign::benchmark {

/// [G, T, F] -> [G, T, O].
using Product = std::function<at::Tensor(const at::Tensor& features_GTF)>;

// One group:      linear  weights [O, F]; addmm  [F, O]; mkldnn, mkl  packed by that library
// Several groups: bmm_of  weights [O, F]; bmm_fo  [F, O]
// On CUDA, either: cublaslt 1, cublaslt 2, ..  weights [O, F], by the library's first algorithm, ..
//
// Throws c10::Error for a layout that the library does not have for this dtype and device.
Product make_product(const std::string& layout, const at::Tensor& weight_GOF,
                     const at::Tensor& bias_GO, int64_t num_tokens);

// Of those that there are, the one with the shortest call for these features.
std::string fastest_layout(const at::Tensor& weight_GOF, const at::Tensor& bias_GO,
                           const at::Tensor& features_GTF, const Stopwatch& stopwatch);

}  // namespace kvalign::benchmark
