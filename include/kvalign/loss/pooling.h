// Mean over the tokens of each sequence: what a task head reads. Packed sequences and padded ones
// with a mask give the same.
//
// Shapes:  R streams   T tokens   D receiver width   B sequences   L longest sequence   C = R * D
#pragma once

#include <ATen/core/Tensor.h>

#include "kvalign/format/export.h"

namespace kvalign {

// [R, T, D] with offsets int64 [B + 1] on the CPU -> [B, R * D]: stream 0, then stream 1, ... .
// Errors: c10::Error for offsets that do not start at 0, increase strictly and end at T.
KVALIGN_API at::Tensor mean_pool(const at::Tensor& cache_RTD, const at::Tensor& sequence_offsets);

// [B, L, C] with a bool mask [B, L] (true: a token) -> [B, C].
// Errors: c10::Error for a mask of another shape or dtype, or a sequence without tokens.
KVALIGN_API at::Tensor masked_mean_pool(const at::Tensor& cache_BLC, const at::Tensor& mask_BL);

}  // namespace kvalign
