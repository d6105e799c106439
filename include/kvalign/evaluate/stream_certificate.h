// The certificates of bounds/ for the streams of a trained projector.
//
// Shapes:  T tokens   F features of a group (low_rank: numbers of the latent)
#pragma once

#include <ATen/core/Tensor.h>

#include <Eigen/Core>
#include <functional>
#include <vector>

#include "kvalign/bounds/evidence.h"
#include "kvalign/format/export.h"
#include "kvalign/projector/projector.h"

namespace kvalign {

/// |P(x) - P(decoded)|_2 of one token of one stream, at most, for every |x - decoded|_i <=
/// half_widths_i. Of low_rank: of its decoder, whose input is the latent. Thread-safe.
using StreamCertificate =
    std::function<Certified(const Eigen::VectorXd& decoded, const Eigen::VectorXd& half_widths)>;

/// Copies the stream's weights and computes their norms once: seconds where a layer is thousands
/// wide. Standardisation must have been folded into the weights, as in a checkpoint. Throws
/// std::invalid_argument for a kind without weights of its own, and as the certificates do.
KVALIGN_API StreamCertificate make_stream_certificate(const Projector& projector, int64_t stream);

/// Of each token, float64 [T]; tokens are shared out among LibTorch's threads. decoded_TF: any
/// floating type; half_widths_TF: float64.
KVALIGN_API at::Tensor certified_bounds(const StreamCertificate& certificate,
                                        const at::Tensor& decoded_TF,
                                        const at::Tensor& half_widths_TF);

/// Dimension of the affine space in which the outputs of all streams together, or of one stream,
/// must lie (see rank_floor.h).
KVALIGN_API int64_t output_dimensions(const Projector& projector);

/// Numbers of any shape and type in one list, as percentiles_of takes it.
KVALIGN_API std::vector<double> to_list(const at::Tensor& values);

/// float64 [rows, columns] (or [n]) of any strides.
KVALIGN_API Eigen::MatrixXd to_matrix(const at::Tensor& values);
KVALIGN_API Eigen::VectorXd to_vector(const at::Tensor& values);

}  // namespace kvalign
