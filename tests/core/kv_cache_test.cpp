// KvCache: shapes are checked, streams are in the documented order, copies and views are what they
// say.
#include "kvalign/core/kv_cache.h"

#include <ATen/ATen.h>

#include "tests/support/throws.h"

namespace kvalign {
namespace {

KvGeometry small_geometry() {
  KvGeometry geometry;
  geometry.model = "small";
  geometry.num_layers = 2;
  geometry.num_kv_heads = 3;
  geometry.head_dim = 4;
  return geometry;
}

std::vector<at::Tensor> random_layers(int64_t batch, int64_t tokens) {
  return {at::rand({batch, 3, tokens, 4}), at::rand({batch, 3, tokens, 4})};
}

KvCache small_cache(int64_t batch, int64_t tokens) {
  return KvCache(small_geometry(), random_layers(batch, tokens), random_layers(batch, tokens));
}

TEST(KvCache, KnowsItsShape) {
  const KvCache cache = small_cache(2, 5);
  EXPECT_EQ(cache.geometry(), small_geometry());
  EXPECT_EQ(cache.batch_size(), 2);
  EXPECT_EQ(cache.num_tokens(), 5);
  EXPECT_EQ(cache.keys(1).sizes(), (at::IntArrayRef{2, 3, 5, 4}));
}

TEST(KvCache, StreamsAreKeysThenValuesWithHeadsSideBySide) {
  const KvCache cache = small_cache(1, 5);
  const at::Tensor streams_STD = cache.streams();
  ASSERT_EQ(streams_STD.sizes(), (at::IntArrayRef{4, 5, 12}));
  EXPECT_TRUE(streams_STD.is_contiguous());
  for (int64_t layer = 0; layer < 2; ++layer) {
    for (int64_t head = 0; head < 3; ++head) {
      for (int64_t token = 0; token < 5; ++token) {
        const at::Tensor keys = streams_STD[layer][token].narrow(0, head * 4, 4);
        const at::Tensor values = streams_STD[2 + layer][token].narrow(0, head * 4, 4);
        EXPECT_TRUE(at::equal(keys, cache.keys(layer)[0][head][token]));
        EXPECT_TRUE(at::equal(values, cache.values(layer)[0][head][token]));
      }
    }
  }
}

TEST(KvCache, ComesBackFromItsStreamsWithoutACopy) {
  const KvCache cache = small_cache(1, 5);
  const at::Tensor streams_STD = cache.streams();
  const KvCache back = KvCache::from_streams(small_geometry(), streams_STD);
  for (int64_t layer = 0; layer < 2; ++layer) {
    EXPECT_TRUE(at::equal(back.keys(layer), cache.keys(layer)));
    EXPECT_TRUE(at::equal(back.values(layer), cache.values(layer)));
  }
  EXPECT_EQ(back.keys(0).data_ptr(), streams_STD.data_ptr());
}

TEST(KvCache, StreamsOfSeveralSequencesAreABatch) {
  const KvCache one = small_cache(1, 5), other = small_cache(1, 5);
  const KvCache both =
      KvCache::from_streams(small_geometry(), at::stack({one.streams(), 2 * other.streams()}, 1));
  EXPECT_EQ(both.batch_size(), 2);
  EXPECT_TRUE(at::equal(both.keys(1)[0], one.keys(1)[0]));
  EXPECT_TRUE(at::equal(both.values(0)[1], 2 * other.values(0)[0]));
}

TEST(KvCache, CloneSharesNothingAndKeepsEverything) {
  const KvCache cache = small_cache(1, 5);
  const at::Tensor before = cache.streams();
  KvCache copy = cache.clone();
  EXPECT_TRUE(at::equal(copy.streams(), before));
  at::Tensor(copy.keys(0)).zero_();
  EXPECT_TRUE(at::equal(cache.streams(), before));
}

TEST(KvCache, SliceTakesTokensOfEveryLayer) {
  const KvCache cache = small_cache(1, 5);
  const KvCache part = cache.slice(1, 3);
  EXPECT_EQ(part.num_tokens(), 3);
  EXPECT_TRUE(at::equal(part.streams(), cache.streams().narrow(1, 1, 3)));
  EXPECT_EQ(cache.slice(5, 0).num_tokens(), 0);
  for (const auto& [first, count] :
       {std::pair<int64_t, int64_t>{3, 3}, {-1, 2}, {0, -1}, {INT64_MAX, 1}}) {
    EXPECT_THROWS_WITH(cache.slice(first, count), "expected tokens inside 0 .. 4, got ");
  }
}

TEST(KvCache, NamesTheLayerThatDoesNotFit) {
  const auto make = [](std::vector<at::Tensor> keys, std::vector<at::Tensor> values) {
    return KvCache(small_geometry(), std::move(keys), std::move(values));
  };
  const auto good = random_layers(1, 5);
  EXPECT_THROWS_WITH(make({good[0]}, good),
                     "expected keys and values of 2 layers (small), got 1 keys and 2 values");
  EXPECT_THROWS_WITH(make({good[0], at::Tensor()}, good),
                     "the keys of layer 1 of small are undefined");
  EXPECT_THROWS_WITH(
      make(good, {at::rand({1, 2, 5, 4}), good[1]}),
      "expected the values of layer 0 of small as [batch, 3 kv heads, tokens, head dim "
      "4], got [1, 2, 5, 4]. Was this cache captured from another model?");
  EXPECT_THROWS_WITH(make(good, {good[0], at::rand({3, 5, 4})}), "got [3, 5, 4]");
  EXPECT_THROWS_WITH(make({at::zeros({1, 3, 5, 4}, at::kLong), good[1]}, good),
                     "expected floating-point keys of layer 0 of small, got Long");
  EXPECT_THROWS_WITH(
      make(good, {good[0], at::rand({1, 3, 6, 4})}),
      "expected the values of layer 1 of small like the keys of layer 0, [1, 3, 5, 4]");
  EXPECT_THROWS_WITH(make(good, {good[0], good[1].to(at::kHalf)}), "got [1, 3, 5, 4] Half on cpu");
}

TEST(KvCache, RefusesStreamsOfAnotherModel) {
  EXPECT_THROWS_WITH(KvCache::from_streams(small_geometry(), at::rand({4, 5, 11})),
                     "expected [4 streams, tokens, width 12], or sequences before tokens (small), "
                     "got [4, 5, 11]. Were these");
  EXPECT_THROWS_WITH(KvCache::from_streams(small_geometry(), at::rand({3, 5, 12})),
                     "got [3, 5, 12]");
  EXPECT_THROWS_WITH(KvCache::from_streams(small_geometry(), at::Tensor()), "an undefined tensor");
  EXPECT_THROWS_WITH(small_cache(2, 5).streams(), "expected a batch of 1, got 2");
}

TEST(KvCache, RefusesLayersThatDoNotExist) {
  const KvCache cache = small_cache(1, 5);
  EXPECT_THROWS_WITH(cache.keys(2), "KvCache::keys: expected a layer of 0 .. 1 (small), got 2");
  EXPECT_THROWS_WITH(cache.values(-1),
                     "KvCache::values: expected a layer of 0 .. 1 (small), got -1");
}

}  // namespace
}  // namespace kvalign
