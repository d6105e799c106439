// Between two named caches: streams and KvCache give the same, and the wrong cache is refused.
#include "kvalign/projector/kv_projector.h"

#include <ATen/ATen.h>

#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

KvGeometry geometry(const std::string& model, int64_t num_layers, int64_t num_kv_heads) {
  return {.model = model,
          .num_layers = num_layers,
          .num_kv_heads = num_kv_heads,
          .head_dim = 4,
          .rope = RopeOptions{.rotary_dim = 4}};
}

const KvGeometry kSender = geometry("small", 3, 2);
const KvGeometry kReceiver = geometry("large", 2, 3);

TEST(KvProjector, CacheAndStreamsGiveTheSame) {
  for (const char* map : {"nearest_depth", "all"}) {
    const KvProjector projector({.layer_map = {.kind = map}}, kSender, kReceiver);
    const at::Tensor streams = golden_fill({6, 5, 8}, 1, 1.0);
    const at::Tensor projected = projector.project(streams);
    ASSERT_EQ(projected.sizes(), at::IntArrayRef({4, 5, 12}));
    const KvCache cache = projector.project(KvCache::from_streams(kSender, streams));
    EXPECT_EQ(cache.geometry(), kReceiver);
    EXPECT_FALSE(cache.keys(0).requires_grad());
    EXPECT_TRUE(cache.streams().equal(projected.detach()));
    // Stream 1 is the keys of layer 1; heads follow one another in its width.
    EXPECT_TRUE(cache.keys(1)[0][2].equal(projected.detach()[1].narrow(1, 8, 4)));
    EXPECT_TRUE(cache.values(1)[0][0].equal(projected.detach()[3].narrow(1, 0, 4)));
  }
}

TEST(KvProjector, HalfPrecisionCachesAreProjectedInFloat) {
  const KvProjector projector({}, kSender, kReceiver);
  const at::Tensor streams = golden_fill({6, 5, 8}, 1, 1.0).to(at::kHalf);
  const KvCache cache = projector.project(KvCache::from_streams(kSender, streams));
  EXPECT_EQ(cache.keys(0).scalar_type(), at::kFloat);
  EXPECT_TRUE(cache.streams().equal(projector.project(streams.to(at::kFloat)).detach()));
}

TEST(KvProjector, BaselinesReadTheNearestSenderStream) {
  const KvProjector projector(baseline_options("pad", 1), kSender, kReceiver);
  const at::Tensor streams = golden_fill({6, 5, 8}, 1, 1.0);
  const at::Tensor projected = projector.project(streams);
  for (const auto& [receiver, sender] : {std::pair{0, 0}, {1, 2}, {2, 3}, {3, 5}}) {
    EXPECT_TRUE(projected[receiver].narrow(1, 0, 8).equal(streams[sender]));
  }
}

TEST(KvProjector, ErrorsSayWhatToDo) {
  ProjectorOptions options = baseline_options("interpolate", 1);
  options.layer_map.kind = "all";
  EXPECT_THROWS_WITH(KvProjector(options, kSender, kReceiver),
                     "kind interpolate expects one sender stream for each receiver stream");
  const KvProjector projector({}, kSender, kReceiver);
  const auto cache_of = [](const KvGeometry& of) {
    return KvCache::from_streams(of, at::zeros({2 * of.num_layers, 5, of.width()}));
  };
  EXPECT_THROWS_WITH(projector.project(cache_of(kReceiver)),
                     "expected a cache of 'small' with num_layers 3, got 2 ('large')");
  EXPECT_THROWS_WITH(projector.project(cache_of(geometry("small", 3, 1))), "num_kv_heads 2, got 1");
  EXPECT_THROWS_WITH(projector.project(cache_of(geometry("other", 3, 2))), "model name small");
  KvGeometry turned = kSender;
  turned.rope->theta = 5.0;
  EXPECT_THROWS_WITH(projector.project(cache_of(turned)), "same rope");

  const KvGeometry flat{.model = "flat", .num_layers = 1, .num_kv_heads = 1, .head_dim = 4};
  const KvProjector flat_projector({}, flat, flat);
  EXPECT_THROWS_WITH(flat_projector.project(cache_of(flat)), "a flat cache has no keys and values");
}

}  // namespace
}  // namespace kvalign
