// Upper bounds of the largest singular value, rounding included. Power iteration and sampling give
// lower bounds and are not here. Weights are float32 and so exact in float64.
//
// All three scale by a power of two against overflow and underflow, work on the smaller of A^T A
// and A A^T, and throw std::invalid_argument where an entry is NaN or infinite. Shapes: A [m, n].
#pragma once

#include <Eigen/Core>

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// S1: sqrt(min(|G|_inf, |G|_F) + gamma |A|_F^2) of the Gram matrix G. Loose by up to n^(1/4), and
/// cheap. Source: every norm bounds the spectral radius (Horn and Johnson, Matrix Analysis, 5.6.9).
KVALIGN_API Certified spectral_norm_gram(const Eigen::MatrixXd& matrix);

/// S2: ten squarings of the Gram matrix (Delattre et al., ICML 2023, "Efficient Bound of Lipschitz
/// Constant for Convolutional Layers by Gram Iteration"), here with each product's rounding added
/// on the way back. Loose by at most n^(1/4096).
KVALIGN_API Certified spectral_norm_gram_iteration(const Eigen::MatrixXd& matrix);

/// S3, the default: a number mu just above the computed eigenvalue for which Cholesky's
/// factorisation of mu I - G runs to its end, which proves it up to the factorisation's backward
/// error (Rump, "Verification of positive definiteness", BIT 46, 2006). About 1e-9 above the truth.
KVALIGN_API Certified spectral_norm_upper(const Eigen::MatrixXd& matrix);

/// W with the mean of each column removed, as LayerNorm does to outputs W x.
struct CentredMatrix {
  Eigen::MatrixXd matrix;   // [m, n], rounded
  Certified rounding{0.0};  // at least the spectral norm of what rounding changed
};
KVALIGN_API CentredMatrix centre_columns(const Eigen::MatrixXd& weight);

}  // namespace kvalign
