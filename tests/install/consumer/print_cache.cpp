// Prints the shape of a cache, which is all that a user of one folder of the library needs.
#include <ATen/ATen.h>

#include <cstdio>

#include "kvalign/core/kv_cache.h"

int main() {
  const kvalign::KvGeometry geometry{
      .model = "large", .num_layers = 6, .num_kv_heads = 2, .head_dim = 16};
  const auto cache = kvalign::KvCache::from_streams(geometry, at::ones({12, 5, 32}));
  std::printf("%lld layers, keys of layer 5: %lld x %lld x %lld\n",
              static_cast<long long>(cache.geometry().num_layers),
              static_cast<long long>(cache.keys(5).size(1)),
              static_cast<long long>(cache.keys(5).size(2)),
              static_cast<long long>(cache.keys(5).size(3)));
  return cache.num_tokens() == 5 ? 0 : 1;
}
