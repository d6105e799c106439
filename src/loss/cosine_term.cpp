// See the header. Norms below F.cosine_similarity's eps are held there, as constants.
#include "kvalign/loss/cosine_term.h"

#include <ATen/ATen.h>

namespace kvalign {
namespace {

constexpr double kSmallestNorm = 1e-8;

// The root's derivative is infinite at 0, where the norm is a constant.
at::Tensor safe_norm(const at::Tensor& squares_RT) {
  return squares_RT.clamp_min(kSmallestNorm * kSmallestNorm).sqrt();
}

}  // namespace

std::string CosineTerm::name() const {
  return "cosine";
}

at::Tensor CosineTerm::compute(const LossInput& input) const {
  const RowProducts rows = products_of(input);
  const at::Tensor cosine_RT =
      rows.products / (safe_norm(rows.first_squares) * safe_norm(rows.second_squares));
  return (1 - cosine_RT.mean()).to(input.target_RTD.scalar_type());
}

}  // namespace kvalign
