// What kvalign bench has on a CUDA device alone: cuBLASLt's products, graphs beside calls, and the
// limit that an empty kernel is.
#include "kvalign/benchmark/benchmark.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "kvalign/benchmark/case.h"
#include "src/benchmark/lt_product.h"
#include "tests/support/throws.h"

namespace kvalign::benchmark {
namespace {

using ::testing::ElementsAre;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

class BenchmarkOnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  }
};

struct ProductShape {
  int64_t groups, tokens, features, outputs;
};

struct ProductInputs {
  ProductInputs(const ProductShape& shape, at::ScalarType dtype)
      : weight_GOF(random({shape.groups, shape.outputs, shape.features}, dtype)),
        bias_GO(random({shape.groups, shape.outputs}, dtype)),
        features_GTF(random({shape.groups, shape.tokens, shape.features}, dtype)) {}

  at::Tensor in_double() const {
    return at::einsum("gtf,gof->gto", {features_GTF.to(at::kDouble), weight_GOF.to(at::kDouble)}) +
           bias_GO.to(at::kDouble).unsqueeze(1);
  }
  static at::Tensor random(at::IntArrayRef sizes, at::ScalarType dtype) {
    return at::randn(sizes, at::device(at::kCUDA).dtype(dtype));
  }

  at::Tensor weight_GOF, bias_GO, features_GTF;
};

TEST_F(BenchmarkOnGpu, CublasLtIsTheProductWithItsBias) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const ProductShape& shape :
         {ProductShape{1, 100, 512, 4096}, {1, 1, 64, 4096}, {56, 32, 128, 256}, {3, 7, 48, 40}}) {
      const ProductInputs inputs(shape, dtype);
      const Product product = make_lt_product(1, inputs.weight_GOF, inputs.bias_GO, shape.tokens);
      EXPECT_LT(relative_error({product(inputs.features_GTF)}, {inputs.in_double()}),
                usual_error_limit(dtype))
          << dtype << ", " << shape.groups << " groups of " << shape.tokens << " tokens";
    }
  }
}

TEST_F(BenchmarkOnGpu, CublasLtHasSoManyAlgorithms) {
  const ProductInputs inputs({1, 7, 48, 40}, at::kFloat);
  EXPECT_THROWS_WITH(make_product("cublaslt 17", inputs.weight_GOF, inputs.bias_GO, 7),
                     "cublaslt: expected an algorithm of 1 to ");
  const ProductInputs halves({1, 7, 48, 40}, at::kHalf);
  EXPECT_THROWS_WITH(make_lt_product(1, halves.weight_GOF, halves.bias_GO, 7),
                     "cublaslt: expected float32 or bfloat16, got Half");
}

// A clock that runs ever slower has the last layout for the fastest.
TEST_F(BenchmarkOnGpu, CublasLtIsAmongTheLayouts) {
  for (const int64_t groups : {1, 3}) {
    const ProductInputs inputs({groups, 7, 48, 40}, at::kBFloat16);
    double seconds = 1e-3;
    const auto stopwatch = [&](const std::function<void()>& work) {
      work();
      return seconds *= 0.99;
    };
    EXPECT_THAT(fastest_layout(inputs.weight_GOF, inputs.bias_GO, inputs.features_GTF, stopwatch),
                StartsWith("cublaslt "));
  }
}

TEST_F(BenchmarkOnGpu, GraphsStandBesideCalls) {
  const char* const kLaunches = "[1-9] kernels?(, [1-9] cop(y|ies))?";
  Limits limits;
  std::vector<std::vector<Measurement>> results;
  run_benchmark({.suites = {"projection"}, .filter = "8 x 1024", .rounds = 5},
                at::Device(at::kCUDA, 0),
                {.on_limits = [&](const Limits& measured) { limits = measured; },
                 .on_rows = [&](const auto& rows) { results.push_back(rows); }});
  // No GPU starts a kernel faster or slower than this, by a factor of ten either way.
  EXPECT_GT(limits.empty_kernel_seconds, 1e-7);
  EXPECT_LT(limits.empty_kernel_seconds, 1e-5);
  ASSERT_FALSE(results.empty());
  for (const std::vector<Measurement>& rows : results) {
    std::vector<std::string> variants;
    for (const Measurement& row : rows) variants.push_back(row.variant);
    ASSERT_THAT(variants, ElementsAre("ours", "eager", "gemm", "ours, graph", "gemm, graph"));
    EXPECT_THAT(rows[3].detail, MatchesRegex(kLaunches));
    EXPECT_THAT(rows[4].detail, MatchesRegex(kLaunches));
    EXPECT_EQ(rows[3].ratios.size(), 3);
  }
}

}  // namespace
}  // namespace kvalign::benchmark
