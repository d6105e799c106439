// Frozen linear maps against at::linear of the same weights in float32, gradients included.
#include "kvalign/ops/frozen_linear.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/random.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

TEST(FrozenLinear, IsTheLinearMapOfItsWeightsInFloat32) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t rows : {1, 3, 65}) {
      // 1600 rows of 700 are several panels, the last of them short.
      const at::Tensor weight_DF = at::randn({1600, 700}, make_generator(1)).to(dtype);
      const at::Tensor bias_D = at::randn({1600}, make_generator(2));
      at::Tensor input = at::randn({2, rows, 700}, make_generator(3)).requires_grad_();
      at::Tensor reference = input.detach().clone().requires_grad_();
      const at::Tensor gradient = at::randn({2, rows, 1600}, make_generator(4));

      const at::Tensor output = frozen_linear(input, weight_DF, bias_D);
      const at::Tensor expected = at::linear(reference, weight_DF.to(at::kFloat), bias_D);
      EXPECT_TRUE(at::allclose(output, expected, 1e-4, 1e-4));
      output.backward(gradient);
      expected.backward(gradient);
      EXPECT_TRUE(at::allclose(input.grad(), reference.grad(), 1e-4, 1e-3));
    }
  }
}

TEST(FrozenLinear, TakesNoRow) {
  const at::Tensor weight_DF = at::randn({5, 7}, make_generator(1)).to(at::kBFloat16);
  EXPECT_EQ(frozen_linear(at::empty({0, 7}), weight_DF).sizes(), at::IntArrayRef({0, 5}));
}

TEST(FrozenLinear, TakesInputsThatAreNotContiguous) {
  const at::Tensor weight_DF = at::randn({5, 7}, make_generator(1)).to(at::kBFloat16);
  const at::Tensor input = at::randn({7, 4}, make_generator(2)).t();
  EXPECT_TRUE(at::allclose(frozen_linear(input, weight_DF),
                           at::linear(input, weight_DF.to(at::kFloat)), 1e-5, 1e-5));
}

TEST(FrozenLinear, RefusesWhatDoesNotFit) {
  const at::Tensor weight_DF = at::ones({5, 7});
  EXPECT_THROWS_WITH(frozen_linear(at::ones({2, 6}), weight_DF), "float32 input [.., 7]");
  EXPECT_THROWS_WITH(frozen_linear(at::ones({2, 7}, at::kHalf), weight_DF), "got Half");
  EXPECT_THROWS_WITH(frozen_linear(at::ones({2, 7}), weight_DF.to(at::kDouble)), "got Double");
  EXPECT_THROWS_WITH(frozen_linear(at::ones({2, 7}), at::ones({7})), "[outputs, inputs]");
  EXPECT_THROWS_WITH(frozen_linear(at::ones({2, 7}), weight_DF, at::ones({4})), "bias [5]");
  EXPECT_THROWS_WITH(frozen_linear(at::ones({2, 7}), weight_DF.to(at::kMeta)), "on meta");
}

}  // namespace
}  // namespace kvalign
