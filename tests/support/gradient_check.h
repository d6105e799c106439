// Gradients against central differences in float64: (f(x + h) - f(x - h)) / 2h, element by element.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace kvalign::testing {

// `function` gives a scalar and reads `input`, a float64 leaf that requires gradients; both are
// left as they were. The truncation error is O(h^2) and rounding O(1e-16 / h): about 1e-9 for h =
// 1e-5.
inline void expect_gradient_matches(const std::function<at::Tensor()>& function, at::Tensor input,
                                    double tolerance = 1e-7) {
  ASSERT_EQ(input.scalar_type(), at::kDouble);
  ASSERT_TRUE(input.requires_grad());
  // Thousands of tiny calls: waking threads would take most of the time.
  const int num_threads = at::get_num_threads();
  at::set_num_threads(1);
  input.mutable_grad() = at::Tensor();
  function().backward();
  const at::Tensor gradient = input.grad().clone().contiguous();
  input.mutable_grad() = at::Tensor();
  const at::NoGradGuard no_gradients;
  const at::Tensor values = input.view(-1);
  constexpr double kStep = 1e-5;
  for (int64_t i = 0; i < values.numel(); ++i) {
    const double value = values[i].item<double>();
    values[i].fill_(value + kStep);
    const double above = function().item<double>();
    values[i].fill_(value - kStep);
    const double below = function().item<double>();
    values[i].fill_(value);
    const double expected = (above - below) / (2 * kStep);
    const double got = gradient.view(-1)[i].item<double>();
    ASSERT_NEAR(got, expected, tolerance * std::max(1.0, std::abs(expected))) << "element " << i;
  }
  at::set_num_threads(num_threads);
}

}  // namespace kvalign::testing
