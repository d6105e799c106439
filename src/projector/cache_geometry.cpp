// See cache_geometry.h.
#include "cache_geometry.h"

#include <c10/util/Exception.h>

#include "kvalign/projector/feature_plan.h"

namespace kvalign {

void check_cache_geometry(const char* where, const KvGeometry& expected, const KvGeometry& got) {
  TORCH_CHECK(!is_flat(expected), where,
              ": a flat cache has no keys and values; pass its [1, tokens, ", expected.width(),
              "] tensor.");
  const auto check = [&](const char* field, const auto& wanted, const auto& came) {
    TORCH_CHECK(wanted == came, where, ": expected a cache of '", expected.model, "' with ", field,
                " ", wanted, ", got ", came, " ('", got.model,
                "'). Was this cache captured from another model?");
  };
  check("num_layers", expected.num_layers, got.num_layers);
  check("num_kv_heads", expected.num_kv_heads, got.num_kv_heads);
  check("head_dim", expected.head_dim, got.head_dim);
  check("model name", expected.model, got.model);
  TORCH_CHECK(expected == got, where, ": expected a cache of '", expected.model,
              "' with the same rope and sliding windows as in training, got others. Was this cache "
              "captured with another configuration?");
}

}  // namespace kvalign
