// The norm of a matrix product's rows, from the rows themselves or from what they are made of. For
// results that need no gradient.
//
// Shapes:  R streams   T tokens   D width   G feature groups   F features   K numbers of a root
#pragma once

#include <ATen/core/Tensor.h>

#include "kvalign/format/export.h"

namespace kvalign {

/// rows_RTD[r, t] becomes y / sqrt(mean(y^2) + epsilon) * gamma[r] + beta[r], the mean over D (RMS
/// norm, arXiv 1910.07467). Rows whose mean is 0 so get LayerNorm (arXiv 1607.06450). float32 on
/// the CPU; the last dimension of rows_RTD is contiguous, the others may be strided; gamma_RD is
/// contiguous, as is beta_RD where it is defined. Sums are of float32, in several parts.
/// Throws c10::Error for other shapes, dtypes, devices and strides.
KVALIGN_API void normalise_rows_(at::Tensor& rows_RTD, const at::Tensor& gamma_RD,
                                 const at::Tensor& beta_RD, double epsilon);

/// Features of which a linear map [W, b, beta] makes normalised outputs: [x, 1] divided by
/// sqrt(|root|^2 / num_outputs + epsilon), then 1, where |root|^2 = |W x + b|^2 is the sum of the
/// squared outputs. features_GTF, roots_GTK: float32 on the CPU. Returns [G, T, F + 2]. Throws
/// c10::Error for other dtypes, devices, and groups or tokens that differ.
KVALIGN_API at::Tensor scale_features(const at::Tensor& features_GTF, const at::Tensor& roots_GTK,
                                      int64_t num_outputs, double epsilon);

}  // namespace kvalign
