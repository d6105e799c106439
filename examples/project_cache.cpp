// Projects a sender's cache to the receiver's with a checkpoint. In CMake:
//
//   find_package(kvalign REQUIRED)
//   add_executable(project_cache project_cache.cpp)
//   target_link_libraries(project_cache PRIVATE kvalign::train)
#include <ATen/ATen.h>

#include <iostream>
#include <vector>

#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: project_cache CHECKPOINT\n";
    return 2;
  }
  const auto projector = kvalign::load_checkpoint(argv[1]).projector;
  // Where your model keeps its cache: for each layer [1, num_kv_heads, tokens, head_dim], float,
  // keys without their rotary positions (kvalign/ops/rope.h turns them back).
  const kvalign::KvGeometry& sender = projector->sender();
  const std::vector<at::Tensor> layers(static_cast<size_t>(sender.num_layers),
                                       at::randn({1, sender.num_kv_heads, 100, sender.head_dim}));
  const kvalign::KvCache receiver =
      projector->project(kvalign::KvCache(sender, /*keys=*/layers, /*values=*/layers));
  for (int64_t layer = 0; layer < receiver.geometry().num_layers; ++layer) {
    std::cout << "layer " << layer << ": keys and values " << receiver.keys(layer).sizes() << "\n";
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
