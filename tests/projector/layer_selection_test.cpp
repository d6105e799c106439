// The choice of sender layers: against fits of each layer by itself, and planted layers found
// again.
#include "kvalign/projector/layer_selection.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kvalign/projector/kv_projector.h"
#include "kvalign/projector/ridge.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

constexpr int64_t kSenderLayers = 4, kReceiverLayers = 2, kTokens = 400;

const KvGeometry kSenderCache{.model = "small",
                              .num_layers = kSenderLayers,
                              .num_kv_heads = 1,
                              .head_dim = 4,
                              .rope = RopeOptions{.rotary_dim = 4}};
const KvGeometry kReceiverCache{.model = "large",
                                .num_layers = kReceiverLayers,
                                .num_kv_heads = 1,
                                .head_dim = 6,
                                .rope = RopeOptions{.rotary_dim = 6}};

struct Data {
  at::Tensor sender_STd, receiver_RTD;
};

// Receiver layer 0 comes from sender layers 2 and, weaker, 1; receiver layer 1 from 0 and 3.
Data planted(uint64_t seed) {
  const at::Tensor sender = golden_fill({2 * kSenderLayers, kTokens, 4}, seed, 1.0);
  const auto layer = [&](int64_t l) { return at::cat({sender[l], sender[kSenderLayers + l]}, 1); };
  const auto mixed = [&](int64_t strong, int64_t weak, uint64_t map) {
    return layer(strong).mm(golden_fill({8, 6}, map, 1.0)) +
           0.3 * layer(weak).mm(golden_fill({8, 6}, map + 1, 1.0)) +
           golden_fill({kTokens, 6}, seed + map, 0.1);
  };
  return {sender, at::stack({mixed(2, 1, 50), mixed(0, 3, 60), mixed(2, 1, 70), mixed(0, 3, 80)})};
}

FeaturePlan plan(const LayerMapOptions& layer_map) {
  return FeaturePlan(kSenderCache, kReceiverCache, layer_map);
}

RidgeStatistics sums(const Data& data, const LayerMapOptions& layer_map) {
  const FeaturePlan features = plan(layer_map);
  RidgeStatistics statistics(projector_shape(features, kReceiverCache));
  statistics.add(features.gather(data.sender_STd), data.receiver_RTD);
  return statistics;
}

const LayerMapOptions kAll{.kind = "all", .features = "both"};

TEST(LayerSelection, FindsTheLayersThatWerePlanted) {
  const auto layers =
      select_layers(sums(planted(1), kAll), sums(planted(2), kAll), kSenderLayers, 2, 1e-3);
  EXPECT_EQ(layers, (std::vector<std::vector<int64_t>>{{2, 1}, {0, 3}}));
}

TEST(LayerSelection, TheFirstChoiceIsTheBestFitByItself) {
  const Data training{golden_fill({8, kTokens, 4}, 5, 1.0), golden_fill({4, kTokens, 6}, 6, 1.0)};
  const Data held_out{golden_fill({8, kTokens, 4}, 7, 1.0), golden_fill({4, kTokens, 6}, 8, 1.0)};
  std::vector<std::vector<double>> errors(kReceiverLayers);  // of each sender layer
  for (int64_t layer = 0; layer < kSenderLayers; ++layer) {
    const LayerMapOptions one{.kind = "top_k", .layers = {layer, layer}, .features = "both"};
    const at::Tensor error_R =
        Ridge(sums(training, one)).held_out_error(sums(held_out, one), {1e-2})[0];
    for (int64_t l = 0; l < kReceiverLayers; ++l) {
      errors[static_cast<size_t>(l)].push_back(
          (error_R[l] + error_R[kReceiverLayers + l]).item<double>());
    }
  }
  const auto layers =
      select_layers(sums(training, kAll), sums(held_out, kAll), kSenderLayers, 1, 1e-2);
  for (size_t l = 0; l < errors.size(); ++l) {
    EXPECT_EQ(layers[l][0],
              std::min_element(errors[l].begin(), errors[l].end()) - errors[l].begin());
  }
}

TEST(LayerSelection, RestrictedSumsAreThoseOfTheSmallerMap) {
  const Data data = planted(3);
  for (const LayerMapOptions& layer_map :
       {LayerMapOptions{.kind = "top_k", .layers = {2, 1, 0, 3}, .features = "both"},
        LayerMapOptions{.kind = "nearest_depth", .features = "own"}}) {
    const RidgeStatistics restricted = sums(data, kAll).restricted_to(plan(layer_map));
    const RidgeStatistics direct = sums(data, layer_map);
    const std::vector<NamedTensor> expected = direct.tensors(), got = restricted.tensors();
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(at::allclose(got[i].tensor, expected[i].tensor, 1e-12, 1e-12))
          << expected[i].name;
    }
  }
}

TEST(LayerSelection, SaysWhatItExpects) {
  const RidgeStatistics all = sums(planted(1), kAll);
  const RidgeStatistics own = sums(planted(1), {.kind = "nearest_depth"});
  EXPECT_THROWS_WITH(select_layers(all, all, kSenderLayers, 5, 1e-3),
                     "expected 1 .. 4 layers, got 5");
  EXPECT_THROWS_WITH(select_layers(all, all, kSenderLayers, 1, 0), "a positive lambda, got 0");
  EXPECT_THROWS_WITH(select_layers(own, own, kSenderLayers, 1, 1e-3),
                     "layer map all with features both");
  EXPECT_THROWS_WITH(own.restricted_to(plan(kAll)), "expected sums of one group of 32 features");
}

}  // namespace
}  // namespace kvalign
