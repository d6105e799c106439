// Groups and gathered features of each layer map against slices taken by hand.
#include "kvalign/projector/feature_plan.h"

#include <ATen/ATen.h>

#include "tests/support/flat_geometry.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::flat;
using testing::golden_fill;
using Groups = std::vector<std::vector<int64_t>>;

KvGeometry layered(int64_t num_layers, int64_t num_kv_heads, int64_t head_dim) {
  return {.model = "tiny",
          .num_layers = num_layers,
          .num_kv_heads = num_kv_heads,
          .head_dim = head_dim,
          .rope = RopeOptions{.rotary_dim = head_dim}};
}

// Sender streams of 3 layers: keys 0 1 2, values 3 4 5.
FeaturePlan plan_3_to_2(const LayerMapOptions& options) {
  return FeaturePlan(layered(3, 2, 4), layered(2, 1, 8), options);
}

TEST(FeaturePlan, GroupsStreamsThatReadTheSame) {
  EXPECT_EQ(plan_3_to_2({}).group_streams(), (Groups{{0}, {2}, {3}, {5}}));
  EXPECT_EQ(plan_3_to_2({.features = "both"}).group_streams(),
            (Groups{{0, 3}, {2, 5}, {0, 3}, {2, 5}}));
  EXPECT_EQ(plan_3_to_2({.kind = "all"}).group_streams(), (Groups{{0, 1, 2}, {3, 4, 5}}));
  EXPECT_EQ(plan_3_to_2({.kind = "all", .features = "both"}).group_streams(),
            (Groups{{0, 1, 2, 3, 4, 5}}));
  EXPECT_EQ(plan_3_to_2({.kind = "top_k", .layers = {2, 0, 1, 2}}).group_streams(),
            (Groups{{2, 0}, {1, 2}, {5, 3}, {4, 5}}));
}

TEST(FeaturePlan, FlatPairHasOneGroup) {
  const FeaturePlan plan(flat(512), flat(4096), {.kind = "all", .features = "both"});
  EXPECT_EQ(plan.num_groups(), 1);
  EXPECT_EQ(plan.num_features(), 512);
  EXPECT_EQ(plan.num_streams(), 1);
  const at::Tensor cache = golden_fill({1, 7, 512}, 1, 1.0);
  EXPECT_TRUE(plan.gather(cache).is_alias_of(cache));
}

TEST(FeaturePlan, GatherConcatenatesTheStreamsOfEachGroup) {
  const at::Tensor cache = golden_fill({6, 5, 8}, 1, 1.0);
  for (const LayerMapOptions& options :
       {LayerMapOptions{}, LayerMapOptions{.features = "both"}, LayerMapOptions{.kind = "all"},
        LayerMapOptions{.kind = "all", .features = "both"}, LayerMapOptions{.kind = "last_aligned"},
        LayerMapOptions{.kind = "top_k", .layers = {2, 0, 1, 2}}}) {
    const FeaturePlan plan = plan_3_to_2(options);
    const at::Tensor features = plan.gather(cache);
    ASSERT_EQ(features.sizes(), at::IntArrayRef({plan.num_groups(), 5, plan.num_features()}));
    EXPECT_TRUE(plan.on(at::kCPU).gather(cache).equal(features)) << options.kind;
    EXPECT_TRUE(plan.on(at::kMeta).gather(cache).equal(features)) << options.kind;
    for (int64_t group = 0; group < plan.num_groups(); ++group) {
      std::vector<at::Tensor> parts;
      for (const int64_t stream : plan.group_streams()[group]) {
        parts.push_back(cache[stream]);
      }
      EXPECT_TRUE(features[group].equal(at::cat(parts, 1))) << options.kind << " group " << group;
    }
  }
}

TEST(FeaturePlan, GatherIsAViewWhereStreamsAreInOrder) {
  const FeaturePlan plan(layered(3, 2, 4), layered(3, 1, 8), {});
  const at::Tensor cache = golden_fill({6, 5, 8}, 1, 1.0);
  EXPECT_TRUE(plan.gather(cache).is_alias_of(cache));
}

TEST(FeaturePlan, ErrorsSayWhatToDo) {
  EXPECT_THROWS_WITH(FeaturePlan(flat(8), layered(2, 1, 8), {}), "Capture both in the same layout");
  EXPECT_THROWS_WITH(plan_3_to_2({.features = "mixed"}), "expected features own or both");
  EXPECT_THROWS_WITH(plan_3_to_2({}).gather(at::zeros({4, 5, 8})),
                     "expected a sender cache of shape [6, tokens, 8], got [4, 5, 8]");
  EXPECT_THROWS_WITH(plan_3_to_2({}).gather(at::zeros({6, 5, 4})), "captured from another model");
}

}  // namespace
}  // namespace kvalign
