// What runs is what was trained: every kind, norm and layout of streams against the trained module
// in float64.
#include "kvalign/projector/frozen_projector.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "frozen_examples.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::frozen_layouts;
using testing::make_example;
using testing::project_in_float64;
using testing::relative_error;
using testing::sender_streams;

// Products of up to 60 numbers, twice, between statistics: each rounds at 2^-24, and the largest of
// what is added is a few times the sum.
constexpr double kFloatLimit = 64 * 0x1p-24;
// Weights and outputs round at 2^-9 of the largest of their binade: one map and its outputs come to
// sqrt(2) * 2^-9 / sqrt(3) = 1.6e-3 at the root mean square, two maps to 2.0e-3, and twice that for
// an example of few numbers.
constexpr double kBfloat16Limit = 3e-3, kBfloat16LimitOfTwoMaps = 4e-3;

void expect_same_function(const ProjectorOptions& options) {
  for (const testing::FrozenExample& example : frozen_layouts(options)) {
    for (const bool with_statistics : {false, true}) {
      const KvProjector projector = make_example(example, with_statistics);
      const FrozenProjector frozen(projector);
      for (const int64_t tokens : {1, 2, 7, 33}) {
        const at::Tensor sender_STd = sender_streams(projector, tokens);
        const at::Tensor got_RTD = frozen.project(sender_STd);
        const at::Tensor expected_RTD = project_in_float64(projector, sender_STd);
        ASSERT_EQ(got_RTD.sizes(), expected_RTD.sizes());
        EXPECT_EQ(got_RTD.scalar_type(), at::kFloat);
        EXPECT_FALSE(got_RTD.requires_grad());
        EXPECT_LE(relative_error(got_RTD, expected_RTD), kFloatLimit)
            << options.kind << ", norm " << options.norm << ", " << example.name << ", " << tokens
            << " tokens, statistics " << with_statistics;
      }
    }
  }
}

TEST(FrozenProjector, LinearResidualIsTheSameFunction) {
  for (const char* norm : {"layer", "rms", "none"}) {
    expect_same_function({.kind = "linear_residual", .norm = norm});
  }
}

TEST(FrozenProjector, MlpIsTheSameFunction) {
  for (const char* norm : {"layer", "rms", "none"}) {
    expect_same_function({.kind = "mlp", .norm = norm, .hidden_size = 9});
  }
}

TEST(FrozenProjector, ResidualMlpIsTheSameFunction) {
  expect_same_function({.kind = "residual_mlp", .norm = "none", .hidden_size = 9});
}

testing::FrozenExample low_rank_example(const std::string& wire) {
  return frozen_layouts({.kind = "low_rank", .norm = "none", .rank = 8, .latent_wire = wire})[1];
}

TEST(FrozenProjector, LowRankIsTheSameFunction) {
  for (const bool with_statistics : {false, true}) {
    const KvProjector projector = make_example(low_rank_example("float32"), with_statistics);
    const at::Tensor sender_STd = sender_streams(projector, 33);
    for (const int64_t rank : {0, 5}) {
      projector.projector().use_rank(rank);
      EXPECT_LE(relative_error(FrozenProjector(projector).project(sender_STd),
                               project_in_float64(projector, sender_STd)),
                kFloatLimit)
          << rank << " of 8 numbers";
    }
  }
}

TEST(FrozenProjector, LatentsPassTheirWire) {
  for (const char* wire : {"float8_e4m3fn", "float16"}) {
    const KvProjector projector = make_example(low_rank_example(wire), true);
    const FrozenProjector frozen(projector);
    const at::Tensor sender_STd = sender_streams(projector, 33);
    const at::NoGradGuard no_gradients;
    // Where two float32 products differ at a boundary between codes, one number of a latent differs
    // by an eighth: 1 in 264 numbers of these.
    EXPECT_LE(
        relative_error(frozen.project(sender_STd), projector.project(sender_STd).to(at::kDouble)),
        0.01)
        << wire;
    EXPECT_GE(relative_error(
                  frozen.project(sender_STd),
                  project_in_float64(make_example(low_rank_example("float32"), true), sender_STd)),
              1e-5)
        << wire;
  }
}

TEST(FrozenProjector, LatentsThatArrivedAreProjected) {
  const KvProjector projector = make_example(low_rank_example("float8_e4m3fn"), true);
  const FrozenProjector frozen(projector);
  const at::NoGradGuard no_gradients;
  for (const int64_t numbers : {8, 3}) {
    const at::Tensor latent_1Tk = at::randn({1, 6, numbers}, make_generator(3));
    projector.projector().to(at::kDouble);
    const at::Tensor expected_RTD =
        projector.projector().project_latent(latent_1Tk.to(at::kDouble));
    projector.projector().to(at::kFloat);
    EXPECT_LE(relative_error(frozen.project_latent(latent_1Tk), expected_RTD), kFloatLimit);
  }
  EXPECT_THROWS_WITH(frozen.project_latent(at::zeros({1, 6, 9})),
                     "[1, tokens, 1 .. 8], got [1, 6, 9]");
  EXPECT_THROWS_WITH(frozen.project_latent(at::zeros({6, 8})), "got [6, 8]");
}

TEST(FrozenProjector, Bfloat16KeepsThreeDigits) {
  for (const char* kind : {"linear_residual", "mlp", "residual_mlp"}) {
    for (const char* norm : {"layer", "none"}) {
      if (std::string(kind) == "residual_mlp" && std::string(norm) == "layer") continue;
      for (const testing::FrozenExample& example :
           frozen_layouts({.kind = kind, .norm = norm, .hidden_size = 9})) {
        const KvProjector projector = make_example(example, true);
        const FrozenProjector frozen(projector, at::kBFloat16);
        for (const int64_t tokens : {1, 33}) {
          const at::Tensor sender_STd = sender_streams(projector, tokens);
          const at::Tensor got_RTD = frozen.project(sender_STd);
          EXPECT_EQ(got_RTD.scalar_type(), at::kBFloat16);
          EXPECT_LE(
              relative_error(got_RTD, project_in_float64(projector, sender_STd)),
              std::string(kind) == "linear_residual" ? kBfloat16Limit : kBfloat16LimitOfTwoMaps)
              << kind << ", norm " << norm << ", " << example.name << ", " << tokens << " tokens";
        }
      }
    }
  }
}

TEST(FrozenProjector, OtherKindsRunTheirModule) {
  for (const char* kind : {"bidirectional", "autoencoder", "random"}) {
    const auto layouts = frozen_layouts({.kind = kind, .norm = "none", .rank = 8});
    const KvProjector projector(layouts[1].options, layouts[1].sender, layouts[1].receiver);
    const at::Tensor sender_STd = sender_streams(projector, 7);
    const at::NoGradGuard no_gradients;
    const at::Tensor expected_RTD = projector.project(sender_STd);
    EXPECT_TRUE(FrozenProjector(projector).project(sender_STd).equal(expected_RTD)) << kind;
    EXPECT_TRUE(FrozenProjector(projector, at::kBFloat16)
                    .project(sender_STd)
                    .equal(expected_RTD.to(at::kBFloat16)))
        << kind;
    EXPECT_THROWS_WITH(FrozenProjector(projector).project_latent(at::zeros({1, 2, 3})),
                       "expected kind low_rank");
  }
}

TEST(FrozenProjector, TakesHalfPrecisionAndNoToken) {
  for (const testing::FrozenExample& example : frozen_layouts({.norm = "layer"})) {
    const KvProjector projector = make_example(example, true);
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const FrozenProjector frozen(projector, dtype);
      const at::Tensor half_STd = sender_streams(projector, 5).to(at::kHalf);
      EXPECT_TRUE(frozen.project(half_STd).equal(frozen.project(half_STd.to(at::kFloat))));
      const at::Tensor none_RTD = frozen.project(sender_streams(projector, 0));
      EXPECT_EQ(none_RTD.sizes(),
                at::IntArrayRef({projector.plan().num_streams(), 0, projector.receiver().width()}));
    }
  }
}

TEST(FrozenProjector, DoesNotNeedOrChangeTheProjector) {
  const auto layouts = frozen_layouts({.norm = "layer"});
  const KvProjector projector = make_example(layouts[1], true);
  const at::Tensor sender_STd = sender_streams(projector, 5);
  const at::NoGradGuard no_gradients;
  const at::Tensor before_RTD = projector.project(sender_STd);
  const FrozenProjector frozen(projector);
  EXPECT_TRUE(projector.project(sender_STd).equal(before_RTD));
  const at::Tensor projected_RTD = frozen.project(sender_STd);
  for (const at::Tensor& parameter : projector.projector().parameters()) parameter.zero_();
  EXPECT_TRUE(frozen.project(sender_STd).equal(projected_RTD));
}

TEST(FrozenProjector, CacheAndStreamsGiveTheSame) {
  for (const size_t layout : {1, 2, 3}) {
    const KvProjector projector = make_example(frozen_layouts({})[layout], false);
    const FrozenProjector frozen(projector);
    const at::Tensor sender_STd = sender_streams(projector, 5);
    const KvCache cache = frozen.project(KvCache::from_streams(projector.sender(), sender_STd));
    EXPECT_EQ(cache.geometry(), projector.receiver());
    EXPECT_TRUE(cache.streams().equal(frozen.project(sender_STd)));
  }
}

TEST(FrozenProjector, RefusesWhatDoesNotFit) {
  const KvProjector projector = make_example(frozen_layouts({})[1], false);
  EXPECT_THROWS_WITH(FrozenProjector(projector, at::kHalf),
                     "expected dtype float32 or bfloat16, got Half");
  const FrozenProjector frozen(projector);
  EXPECT_THROWS_WITH(frozen.project(at::zeros({6, 5, 7})), "[6, tokens, 6], got [6, 5, 7]");
  const KvGeometry& other = projector.receiver();
  EXPECT_THROWS_WITH(
      frozen.project(KvCache::from_streams(other, at::zeros({4, 5, other.width()}))),
      "FrozenProjector::project: expected a cache of 'small' with num_layers 3, got 2 ('large')");
}

TEST(FrozenProjector, PackedWeightsAreTheSameMap) {
  const KvProjector projector({.norm = "layer"}, testing::flat(512), testing::flat(1024));
  const FrozenProjector packed(projector), plain(projector, at::kFloat, /*packs=*/false);
  for (const int64_t tokens : {1, 7, 40}) {
    const at::Tensor sender_1Td = at::randn({1, tokens, 512}, make_generator(1));
    EXPECT_TRUE(at::allclose(packed.project(sender_1Td), plain.project(sender_1Td), 1e-4, 1e-4))
        << tokens << " tokens";
  }
}

}  // namespace
}  // namespace kvalign
