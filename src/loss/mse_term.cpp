// See the header; ATen has exactly this.
#include "kvalign/loss/mse_term.h"

#include <ATen/ATen.h>

namespace kvalign {

std::string MseTerm::name() const {
  return "mse";
}

at::Tensor MseTerm::compute(const LossInput& input) const {
  return at::mse_loss(input.predicted_RTD, input.target_RTD);
}

}  // namespace kvalign
