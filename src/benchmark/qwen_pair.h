// The shapes of Qwen2.5-Coder-0.5B and 1.5B, as their config.json have them: what the suites of
// whole caches project between, with random weights. Private to benchmark/.
#pragma once

#include "kvalign/format/geometry.h"

namespace kvalign::benchmark {

inline KvGeometry qwen_sender() {
  return {.model = "qwen2.5-coder-0.5b",
          .num_layers = 24,
          .num_kv_heads = 2,
          .head_dim = 64,
          .rope = RopeOptions{.theta = 1e6, .rotary_dim = 64},
          .sliding_window_layers = {}};
}

inline KvGeometry qwen_receiver() {
  return {.model = "qwen2.5-coder-1.5b",
          .num_layers = 28,
          .num_kv_heads = 2,
          .head_dim = 128,
          .rope = RopeOptions{.theta = 1e6, .rotary_dim = 128},
          .sliding_window_layers = {}};
}

}  // namespace kvalign::benchmark
