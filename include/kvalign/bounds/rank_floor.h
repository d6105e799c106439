// Errors below which no training can go: they tell when a projector's form is the limit. Figures of
// the data at hand, so Measured; rounded downwards.
#pragma once

#include <Eigen/Core>

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// Least mean of |y - P(x)|^2 over the data for every P whose outputs lie in an affine space of
/// `dimensions`: the sum of the covariance's eigenvalues beyond that many (Eckart and Young 1936).
/// `covariance` [D, D] with divisor n, symmetric.
///
/// dimensions: linear_residual and latents, the features (rank of the latent); with LayerNorm or
/// RMSNorm one more, for the bias's direction no longer is a fixed shift; mlp, the hidden units
/// (and one with a norm); residual_mlp, features plus hidden units. Throws std::invalid_argument
/// unless the matrix is square and finite and dimensions >= 0.
KVALIGN_API Measured rank_floor(const Eigen::MatrixXd& covariance, int64_t dimensions);

/// Least mean of |y - P(x)| where P's outputs all have norm sqrt(d), as LayerNorm's with gamma 1
/// and beta 0 (up to eps, which only shortens them): the mean of max(|y| - sqrt(d), 0). `norms`:
/// |y| of each row. Throws std::invalid_argument for no rows.
KVALIGN_API Measured norm_floor(const Eigen::VectorXd& norms, int64_t width);

/// At least the mean of |y - P(x)| over tokens, from the mean squared error of an element:
/// sqrt(width * mse) (Jensen).
KVALIGN_API Measured mean_norm_from_mse(Measured mse, int64_t width);

}  // namespace kvalign
