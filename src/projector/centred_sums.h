// Sums about means from sums about zero. Private to projector/.
#pragma once

#include <ATen/core/Tensor.h>

namespace kvalign {

/// sum (a - u)(b - v)' over n tokens, given products = sum a b' and the sums of a and of b. Writes
/// over `products`, which are large.
inline at::Tensor centre_in_place(at::Tensor products, const at::Tensor& sums_a,
                                  const at::Tensor& sums_b, const at::Tensor& u,
                                  const at::Tensor& v, double n) {
  return products.addr_(sums_a, v, 1, -1).addr_(u, sums_b, 1, -1).addr_(u, v, 1, n);
}

}  // namespace kvalign
