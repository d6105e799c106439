// Products of a few float32 rows with rows of bfloat16 or float16 weights, converted in registers:
// one token's matrix products are bound by how many bytes of weights cross the memory bus.
//
// Shapes: M rows of the input, F input width, D output width
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace kvalign {

// More rows than this are better served by a matrix product on converted panels.
constexpr int64_t kMostRows = 4;

// output[m, d] = sum over f of input[m, f] weight[d, f], for d in [first, last). input_MF and
// output_MD are contiguous float32, weight_DF contiguous bfloat16 or float16; M is 1 .. kMostRows.
void narrow_dot(const at::Tensor& input_MF, const at::Tensor& weight_DF, int64_t first,
                int64_t last, at::Tensor& output_MD);

}  // namespace kvalign
