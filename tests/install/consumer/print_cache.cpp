// Prints the shape of a cache, which is all that a user of one folder of the library needs.
#include <ATen/ATen.h>

#include "print_shape.h"

int main() {
  const kvalign::KvGeometry geometry{
      .model = "large", .num_layers = 6, .num_kv_heads = 2, .head_dim = 16};
  const auto cache = kvalign::KvCache::from_streams(geometry, at::ones({12, 5, 32}));
  print_shape(cache);
  return cache.num_tokens() == 5 ? 0 : 1;
}
