// Layer maps against lists worked out by hand.
#include "kvalign/projector/layer_map.h"

#include "kvalign/core/options.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using Map = std::vector<std::vector<int64_t>>;

TEST(LayerMap, NearestDepthRoundsRelativeDepth) {
  // l * 23 / 27 for l = 0 .. 27, as for Qwen2.5 0.5B (24 layers) and 1.5B (28).
  const Map map = map_layers({.kind = "nearest_depth"}, 24, 28);
  ASSERT_EQ(map.size(), 28u);
  EXPECT_EQ(map[0], std::vector<int64_t>{0});
  EXPECT_EQ(map[1], std::vector<int64_t>{1});    // 0.85
  EXPECT_EQ(map[13], std::vector<int64_t>{11});  // 11.07
  EXPECT_EQ(map[27], std::vector<int64_t>{23});
  // Halves go up: 1 * 1 / 2.
  EXPECT_EQ(map_layers({.kind = "nearest_depth"}, 2, 3), (Map{{0}, {1}, {1}}));
  EXPECT_EQ(map_layers({.kind = "nearest_depth"}, 5, 3), (Map{{0}, {2}, {4}}));
  EXPECT_EQ(map_layers({.kind = "nearest_depth"}, 1, 2), (Map{{0}, {0}}));
  EXPECT_EQ(map_layers({.kind = "nearest_depth"}, 4, 1), (Map{{3}}));
}

TEST(LayerMap, LastAlignedCountsFromTheEnd) {
  EXPECT_EQ(map_layers({.kind = "last_aligned"}, 2, 4), (Map{{0}, {0}, {0}, {1}}));
  EXPECT_EQ(map_layers({.kind = "last_aligned"}, 4, 2), (Map{{2}, {3}}));
}

TEST(LayerMap, TopKDividesTheGivenList) {
  EXPECT_EQ(map_layers({.kind = "top_k", .layers = {0, 2, 1, 2}}, 3, 2), (Map{{0, 2}, {1, 2}}));
}

TEST(LayerMap, AllReadsEveryLayer) {
  EXPECT_EQ(map_layers({.kind = "all"}, 3, 2), (Map{{0, 1, 2}, {0, 1, 2}}));
}

TEST(LayerMap, ErrorsSayWhatToDo) {
  EXPECT_THROWS_WITH(map_layers({.kind = "some"}, 3, 2),
                     "expected kind nearest_depth, last_aligned, top_k or all, got 'some'");
  EXPECT_THROWS_WITH(map_layers({.kind = "top_k"}, 3, 2), "Give a multiple of 2");
  EXPECT_THROWS_WITH(map_layers({.kind = "top_k", .layers = {0, 1, 2}}, 3, 2),
                     "for each of 2 receiver layers, got 3 numbers");
  EXPECT_THROWS_WITH(map_layers({.kind = "top_k", .layers = {0, 3}}, 3, 2),
                     "layers[1] to be a sender layer 0 .. 2, got 3");
  EXPECT_THROWS_WITH(map_layers({.kind = "all", .layers = {0}}, 3, 2),
                     "Remove layers or set kind: top_k");
}

TEST(LayerMap, OptionsAreDescribed) {
  LayerMapOptions options;
  read_options(options, "", {"kind=top_k", "layers=[1, 0]", "features=both"});
  EXPECT_EQ(options.layers, (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(options.features, "both");
  EXPECT_THROWS_WITH(read_options(options, "", {"kind=middle"}), "nearest_depth");
}

}  // namespace
}  // namespace kvalign
