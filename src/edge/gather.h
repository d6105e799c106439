// From the caller's strides and types to a contiguous float32 row.
#pragma once

#include <cstdint>

#include "kvalign/edge/kvalign_edge_tensor.h"

namespace kvalign {

// row: [num_kv_heads, head_dim]; a tensor with a known dtype, token counted from its own first one.
void gather_row(const kvalign_edge_tensor& tensor, uint64_t token, uint32_t num_kv_heads,
                uint32_t head_dim, float* row) noexcept;

}  // namespace kvalign
