// A cache of one stream.
#pragma once

#include "kvalign/format/geometry.h"

namespace kvalign::testing {

inline KvGeometry flat(int64_t width) {
  return {.model = "flat", .num_layers = 1, .num_kv_heads = 1, .head_dim = width};
}

}  // namespace kvalign::testing
