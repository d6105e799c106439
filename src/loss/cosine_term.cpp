// dot / (norm * norm) instead of a dot of normalised vectors, as at::cosine_similarity has it: one
// tensor of the cache's size less in each direction, the same to rounding.
#include "kvalign/loss/cosine_term.h"

#include <ATen/ATen.h>

namespace kvalign {
namespace {

constexpr double kSmallestNorm = 1e-8;  // F.cosine_similarity's eps

at::Tensor norm_RT(const at::Tensor& vectors_RTD) {
  return at::linalg_vector_norm(vectors_RTD, 2, at::IntArrayRef({-1})).clamp_min(kSmallestNorm);
}

}  // namespace

std::string CosineTerm::name() const {
  return "cosine";
}

at::Tensor CosineTerm::compute(const LossInput& input) const {
  const at::Tensor dot_RT = (input.predicted_RTD * input.target_RTD).sum(-1);
  const at::Tensor norms_RT = norm_RT(input.predicted_RTD) * norm_RT(input.target_RTD);
  return 1 - (dot_RT / norms_RT).mean();
}

}  // namespace kvalign
