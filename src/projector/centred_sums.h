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

/// Z'Z of z = (x - mean) / scale over n tokens, from X'X and the sums of x: a new matrix.
inline at::Tensor standardised_products(const at::Tensor& products_FF, const at::Tensor& sums_F,
                                        const at::Tensor& mean_F, const at::Tensor& scale_F,
                                        double n) {
  return centre_in_place(products_FF.clone(), sums_F, sums_F, mean_F, mean_F, n)
      .div_(scale_F.unsqueeze(1))
      .div_(scale_F);
}

}  // namespace kvalign
