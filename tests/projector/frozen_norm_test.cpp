// The norm of what runs, on both ways to it, where arithmetic is hard: outputs with a large common
// mean, maps of low rank, and the sizes around which the way changes.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "frozen_examples.h"
#include "kvalign/projector/frozen_projector.h"

namespace kvalign {
namespace {

using testing::flat;
using testing::make_example;
using testing::project_in_float64;
using testing::relative_error;
using testing::sender_streams;

// 16 * 64 = 32^2: 31 features and the bias are the last whose squares are known before the product.
constexpr int64_t kWidth = 64, kLastOfFewFeatures = 31;

KvProjector normed(const char* norm, int64_t features, int64_t width) {
  ProjectorOptions options;
  options.norm = norm;
  return make_example({"flat", options, flat(features), flat(width)}, false);
}

at::Tensor& weight_of(const KvProjector& projector) {
  return projector.projector().named_parameters()["linear.weight"];
}

TEST(FrozenNorm, IsTheSameOnBothSidesOfEverySize) {
  for (const char* norm : {"layer", "rms"}) {
    for (const int64_t features : {1, 7, 15, 16, 17, 30, 31, 32, 33, 64, 65}) {
      for (const int64_t width : {1, 3, 63, 64, 65, 257}) {
        if (width == 1 && std::string(norm) == "layer") continue;  // 0 / 0 but for epsilon
        const KvProjector projector = normed(norm, features, width);
        const at::Tensor sender_STd = sender_streams(projector, 5);
        EXPECT_LE(relative_error(FrozenProjector(projector).project(sender_STd),
                                 project_in_float64(projector, sender_STd)),
                  32 * 0x1p-24)
            << norm << " " << features << " -> " << width;
      }
    }
  }
}

TEST(FrozenNorm, ALargeCommonMeanCostsNoDigits) {
  for (const int64_t features : {kLastOfFewFeatures, kLastOfFewFeatures + 1}) {
    const KvProjector projector = normed("layer", features, kWidth);
    const at::NoGradGuard no_gradients;
    // Every output has 1,000 times its own part in common with the others.
    weight_of(projector).add_(500.0);
    projector.projector().named_parameters()["linear.bias"].add_(500.0);
    const at::Tensor sender_STd = sender_streams(projector, 33);
    const at::Tensor expected_RTD = project_in_float64(projector, sender_STd);
    EXPECT_LE(relative_error(FrozenProjector(projector).project(sender_STd), expected_RTD),
              32 * 0x1p-24)
        << features << " features";
    // The trained module itself loses the three digits.
    EXPECT_GE(relative_error(projector.project(sender_STd), expected_RTD), 32 * 0x1p-24);
    EXPECT_LE(
        relative_error(FrozenProjector(projector, at::kBFloat16).project(sender_STd), expected_RTD),
        3e-3)
        << features << " features";
  }
}

TEST(FrozenNorm, MapsOfLowRankAreNormalised) {
  for (const int64_t rank : {0, 1, 5}) {
    const KvProjector projector = normed("layer", kLastOfFewFeatures, kWidth);
    const at::NoGradGuard no_gradients;
    weight_of(projector).copy_(at::mm(at::randn({kWidth, rank}, make_generator(1)),
                                      at::randn({rank, kLastOfFewFeatures}, make_generator(2)))
                                   .unsqueeze(0));
    const at::Tensor sender_STd = sender_streams(projector, 9);
    EXPECT_LE(relative_error(FrozenProjector(projector).project(sender_STd),
                             project_in_float64(projector, sender_STd)),
              64 * 0x1p-24)
        << "rank " << rank;
  }
}

TEST(FrozenNorm, AMapToOneConstantGivesBeta) {
  for (const int64_t features : {kLastOfFewFeatures, kLastOfFewFeatures + 1}) {
    const KvProjector projector = normed("layer", features, kWidth);
    const at::NoGradGuard no_gradients;
    weight_of(projector).fill_(3.0);
    projector.projector().named_parameters()["linear.bias"].fill_(100.0);
    const at::Tensor got_RTD = FrozenProjector(projector).project(sender_streams(projector, 3));
    const at::Tensor beta_1D = projector.projector().named_parameters()["norm.beta"];
    EXPECT_TRUE(got_RTD.equal(beta_1D.unsqueeze(1).expand_as(got_RTD)));
  }
}

// 16 MiB are normalised at once: 65,536 rows of 64.
TEST(FrozenNorm, ManyRowsAreNormalisedInBlocks) {
  for (const char* map : {"flat", "nearest_depth", "all"}) {
    ProjectorOptions options;
    options.norm = "rms";
    options.layer_map = {.kind = std::string(map) == "flat" ? "nearest_depth" : map};
    const KvGeometry layered{.model = "model",
                             .num_layers = 2,
                             .num_kv_heads = 1,
                             .head_dim = kWidth,
                             .rope = RopeOptions{.rotary_dim = kWidth},
                             .sliding_window_layers = {}};
    const bool is_flat = std::string(map) == "flat";
    const KvProjector projector = make_example(
        {map, options, is_flat ? flat(2 * kWidth) : layered, is_flat ? flat(kWidth) : layered},
        false);
    const FrozenProjector frozen(projector);
    // Several tokens of all streams, one stream at a time, and two at a time.
    for (const int64_t tokens : {65536 + 3, 32768}) {
      const at::Tensor sender_STd = sender_streams(projector, tokens);
      EXPECT_LE(
          relative_error(frozen.project(sender_STd), project_in_float64(projector, sender_STd)),
          64 * 0x1p-24)
          << map << ", " << tokens << " tokens";
    }
  }
}

}  // namespace
}  // namespace kvalign
