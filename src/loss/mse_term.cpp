// See the header. The sums are float64, so that one row's small error is not lost beside others.
#include "kvalign/loss/mse_term.h"

#include <ATen/ATen.h>

namespace kvalign {

std::string MseTerm::name() const {
  return "mse";
}

at::Tensor MseTerm::compute(const LossInput& input) const {
  const at::Tensor mean_square =
      products_of(input).differences.sum() / static_cast<double>(input.target_RTD.numel());
  return mean_square.to(input.target_RTD.scalar_type());
}

}  // namespace kvalign
