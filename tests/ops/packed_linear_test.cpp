// Packed linear maps against at::linear of the same weights in float64.
#include "kvalign/ops/packed_linear.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/random.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

class PackedLinearTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!PackedLinear::is_available()) GTEST_SKIP() << "this LibTorch has no oneDNN for x86-64";
  }
};

TEST_F(PackedLinearTest, IsTheLinearMapOfItsWeights) {
  for (const auto& [features, outputs] :
       {std::pair<int64_t, int64_t>{64, 4096}, {513, 37}, {1, 1}}) {
    at::Tensor weight_OF = at::randn({outputs, features}, make_generator(1));
    at::Tensor bias_O = at::randn({outputs}, make_generator(2));
    const PackedLinear with_bias(weight_OF, bias_O), without(weight_OF, {});
    const at::Tensor weight = weight_OF.to(at::kDouble), bias = bias_O.to(at::kDouble);
    weight_OF.zero_();  // need not be kept
    bias_O.zero_();
    for (const int64_t rows : {1, 5, 32, 101}) {
      const at::Tensor features_TF = at::randn({rows, features}, make_generator(3));
      const at::Tensor expected_TO = at::linear(features_TF.to(at::kDouble), weight);
      const auto is_near = [](const at::Tensor& got, const at::Tensor& expected) {
        return at::allclose(got.to(at::kDouble), expected, 1e-5, 1e-4);
      };
      EXPECT_TRUE(is_near(without.run(features_TF), expected_TO)) << rows << " rows";
      EXPECT_TRUE(is_near(with_bias.run(features_TF), expected_TO + bias)) << rows << " rows";
    }
  }
}

TEST_F(PackedLinearTest, TakesNoRowAndRowsThatAreNotContiguous) {
  const at::Tensor weight_OF = at::randn({5, 7}, make_generator(1));
  const PackedLinear map(weight_OF, {});
  EXPECT_EQ(map.run(at::empty({0, 7})).sizes(), at::IntArrayRef({0, 5}));
  const at::Tensor columns = at::randn({7, 4}, make_generator(2)).t();
  EXPECT_TRUE(at::allclose(map.run(columns), at::linear(columns, weight_OF), 1e-5, 1e-5));
  const at::Tensor narrowed = at::randn({4, 9}, make_generator(3)).narrow(1, 1, 7);
  EXPECT_TRUE(at::allclose(map.run(narrowed), at::linear(narrowed, weight_OF), 1e-5, 1e-5));
  const at::Tensor columns_of_weights = weight_OF.t().contiguous().t();
  EXPECT_TRUE(at::allclose(PackedLinear(columns_of_weights, {}).run(narrowed),
                           at::linear(narrowed, weight_OF), 1e-5, 1e-5));
}

TEST_F(PackedLinearTest, RefusesWhatDoesNotFit) {
  const at::Tensor weight_OF = at::ones({5, 7});
  EXPECT_THROWS_WITH(PackedLinear(at::ones({7}), {}), "weights [outputs, features]");
  EXPECT_THROWS_WITH(PackedLinear(at::ones({0, 7}), {}), "[0, 7]");
  EXPECT_THROWS_WITH(PackedLinear(weight_OF.to(at::kDouble), {}), "got Double");
  EXPECT_THROWS_WITH(PackedLinear(weight_OF.to(at::kMeta), {}), "on meta");
  EXPECT_THROWS_WITH(PackedLinear(weight_OF, at::ones({7})), "a float32 bias [5]");
  EXPECT_THROWS_WITH(PackedLinear(weight_OF, at::ones({5}, at::kDouble)), "got Double");
  const PackedLinear map(weight_OF, {});
  EXPECT_THROWS_WITH(map.run(at::ones({2, 6})), "float32 [rows, 7]");
  EXPECT_THROWS_WITH(map.run(at::ones({7})), "got Float [7]");
  EXPECT_THROWS_WITH(map.run(at::ones({2, 7}, at::kHalf)), "got Half");
}

}  // namespace
}  // namespace kvalign
