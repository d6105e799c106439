// Certified and measured moves of one row's outputs on some tokens. Private to evaluate/.
//
// Shapes:  R streams   T tokens   D receiver width
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "kvalign/evaluate/certificate_report.h"
#include "kvalign/evaluate/stream_certificate.h"
#include "rows.h"
#include "sent_tokens.h"

namespace kvalign {

// All float64 on the CPU, in float64 arithmetic.
struct RowMoves {
  at::Tensor exact_RTD;     // P(x)
  at::Tensor decoded_RTD;   // P(x_hat)
  at::Tensor measured_RT;   // |P(x) - P(x_hat)|
  at::Tensor certified_RT;  // at least that, from x_hat and half widths alone
  double numeric = 0;       // largest |P(x_hat) in float32 - P(x_hat)| of a token's stream

  int64_t violations() const;  // NaN is one
};

// Of all streams of the row's projector. `streams_done` is told after each.
std::vector<StreamCertificate> stream_certificates(
    const Row& row, const std::function<void(int64_t done, int64_t total)>& streams_done);

RowMoves certify_row(const Row& row, const std::vector<StreamCertificate>& certificates,
                     const SentTokens& sent);

// Figures of the moves, and of the distance to the true vectors `target_RTD`; floors are left out.
std::vector<StreamCertificateFigures> stream_figures(const RowMoves& moves,
                                                     const at::Tensor& target_RTD,
                                                     const std::vector<std::string>& names);

}  // namespace kvalign
