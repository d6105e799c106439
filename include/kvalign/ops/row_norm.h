// A norm over the rows of a matrix product, in place and while the rows are in the cache. For
// results that need no gradient; LibTorch's own norms write another tensor.
//
// Shapes:  R streams   T tokens   D width
#pragma once

#include <ATen/core/Tensor.h>

#include "kvalign/format/export.h"

namespace kvalign {

/// rows_RTD[r, t] becomes y / sqrt(mean(y^2) + epsilon) * gamma[r] + beta[r], the mean over D (RMS
/// norm, arXiv 1910.07467). Rows whose mean is 0 so get LayerNorm (arXiv 1607.06450). float32 on
/// the CPU; the last dimension of rows_RTD is contiguous, the others may be strided; gamma_RD is
/// contiguous, as is beta_RD where it is defined. Sums are of float32 in eight or more parts.
/// Throws c10::Error for other shapes, dtypes, devices and strides.
KVALIGN_API void normalise_rows_(at::Tensor& rows_RTD, const at::Tensor& gamma_RD,
                                 const at::Tensor& beta_RD, double epsilon);

}  // namespace kvalign
