// What every variant is compared with, beside the projector itself in float64, and the layouts of a
// product beside the sum that they stand for.
#include "src/benchmark/eager_projection.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "kvalign/core/random.h"
#include "src/benchmark/product.h"
#include "tests/support/flat_geometry.h"
#include "tests/support/throws.h"

namespace kvalign::benchmark {
namespace {

KvProjector with_random_weights(ProjectorOptions options, const KvGeometry& sender,
                                const KvGeometry& receiver) {
  options.standardise_features = options.standardise_targets = false;
  const KvProjector projector(options, sender, receiver);
  const at::NoGradGuard no_gradients;
  projector.projector().to(at::kDouble);
  at::Generator generator = make_generator(3);
  for (auto& parameter : projector.projector().parameters()) {
    parameter.add_(at::randn(parameter.sizes(), generator, at::TensorOptions(at::kDouble)), 0.1);
  }
  return projector;
}

void expect_same(const KvProjector& projector, int64_t sender_streams, int64_t sender_width) {
  const at::NoGradGuard no_gradients;
  const at::Tensor sender_STd = at::randn({sender_streams, 5, sender_width}, make_generator(4),
                                          at::TensorOptions(at::kDouble));
  const at::Tensor expected = projector.project(sender_STd);
  const at::Tensor got = EagerProjection(projector, at::kDouble).project(sender_STd);
  EXPECT_EQ(got.sizes(), expected.sizes());
  EXPECT_TRUE(at::allclose(got, expected, 1e-12, 1e-12));
}

KvGeometry layers(int64_t num_layers, int64_t num_kv_heads, int64_t head_dim) {
  KvGeometry geometry;
  geometry.num_layers = num_layers;
  geometry.num_kv_heads = num_kv_heads;
  geometry.head_dim = head_dim;
  return geometry;
}

TEST(BenchmarkEager, IsTheProjectorOfOneStream) {
  for (const char* kind : {"linear_residual", "mlp"}) {
    const KvProjector projector = with_random_weights(
        {.kind = kind, .norm = "layer", .hidden_size = 6}, testing::flat(8), testing::flat(12));
    expect_same(projector, 1, 8);
  }
}

TEST(BenchmarkEager, IsTheProjectorOfManyStreams) {
  const KvGeometry sender = layers(2, 2, 4), receiver = layers(3, 2, 6);
  const LayerMapOptions all = {.kind = "all", .features = "both"};
  expect_same(with_random_weights({.norm = "layer"}, sender, receiver), 4, 8);
  expect_same(with_random_weights({.norm = "none", .layer_map = all}, sender, receiver), 4, 8);
  expect_same(with_random_weights({.kind = "low_rank",
                                   .norm = "none",
                                   .rank = 5,
                                   .latent_wire = "float32",
                                   .layer_map = all},
                                  sender, receiver),
              4, 8);
}

TEST(BenchmarkEager, RefusesWhatItDoesNotKnow) {
  const KvProjector baseline({.kind = "truncate", .norm = "none"}, testing::flat(8),
                             testing::flat(4));
  EXPECT_THROWS_WITH(EagerProjection(baseline, at::kDouble),
                     "expected linear_residual, mlp or low_rank, got truncate");
  const KvProjector streams({.kind = "mlp"}, layers(2, 2, 4), layers(2, 2, 4));
  EXPECT_THROWS_WITH(EagerProjection(streams, at::kDouble), "expected one stream of mlp, got 4");
}

TEST(BenchmarkProduct, EveryLayoutIsTheSameProduct) {
  const auto check = [](const char* layout, int64_t groups) {
    const at::Tensor weight_GOF = at::randn({groups, 6, 5}, make_generator(1));
    const at::Tensor bias_GO = at::randn({groups, 6}, make_generator(2));
    const at::Tensor features_GTF = at::randn({groups, 7, 5}, make_generator(3));
    const at::Tensor expected =
        at::einsum("gtf,gof->gto", {features_GTF, weight_GOF}) + bias_GO.unsqueeze(1);
    const at::Tensor got = make_product(layout, weight_GOF, bias_GO, 7)(features_GTF);
    EXPECT_TRUE(at::allclose(got, expected, 1e-5, 1e-5)) << layout;
  };
  for (const char* layout : {"linear", "addmm", "mkldnn", "mkl"}) check(layout, 1);
  for (const char* layout : {"bmm_of", "bmm_fo"}) check(layout, 3);
  EXPECT_THROWS_WITH(check("packed", 1), "no layout 'packed'");
  EXPECT_THROWS_WITH(check("cublaslt 1", 1), "cublaslt: ");  // here is no device to multiply on
}

// The clock says that the second one is the faster; short calls are repeated, long ones are not.
TEST(BenchmarkProduct, TheFastestLayoutIsChosen) {
  int calls = 0;
  const Stopwatch stopwatch = [&](const std::function<void()>& work) {
    work();
    return ++calls <= 4 ? 2e-3 : 1e-3;
  };
  const at::Tensor weight_GOF = at::ones({3, 6, 5});
  EXPECT_EQ(fastest_layout(weight_GOF, at::ones({3, 6}), at::ones({3, 7, 5}), stopwatch), "bmm_fo");
  EXPECT_EQ(calls, 8);
  calls = 0;
  const Stopwatch long_calls = [&](const std::function<void()>&) { return 1.0 + ++calls; };
  EXPECT_EQ(fastest_layout(weight_GOF, at::ones({3, 6}), at::ones({3, 7, 5}), long_calls),
            "bmm_of");
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace kvalign::benchmark
