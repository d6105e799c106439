// Projects the cache of a small model into that of a larger one with an untrained projector: what a
// user of the library writes, and nothing else.
#include <ATen/ATen.h>

#include "kvalign/projector/kv_projector.h"
#include "print_shape.h"

int main() {
  const kvalign::KvGeometry small{
      .model = "small", .num_layers = 4, .num_kv_heads = 2, .head_dim = 8};
  const kvalign::KvGeometry large{
      .model = "large", .num_layers = 6, .num_kv_heads = 2, .head_dim = 16};
  const kvalign::KvProjector projector(kvalign::ProjectorOptions{}, small, large);

  const auto sender = kvalign::KvCache::from_streams(small, at::ones({8, 5, 16}));
  const kvalign::KvCache receiver = projector.project(sender);
  print_shape(receiver);
  return receiver.num_tokens() == 5 ? 0 : 1;
}
