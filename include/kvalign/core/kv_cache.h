// The KV cache of one model: per layer the content keys (RoPE removed) and the values.
// It is a value: it knows its geometry and its shapes are right. It does not rotate keys
// (ops/rope.h), and it does not project (projector/kv_projector.h).
//
// Shapes:  B batch   N kv heads   T tokens   H head dim   L layers   S streams = 2 L   D = N * H
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/format/geometry.h"

namespace kvalign {

class KVALIGN_API KvCache {
 public:
  // One [B, N, T, H] tensor a layer, floating point; all of one dtype, device, B and T. The tensors
  // are kept, not copied: clone() where the caller goes on writing into them. Errors: c10::Error
  // that names the layer, what the geometry expects and what came.
  KvCache(KvGeometry geometry, std::vector<at::Tensor> keys_BNTH,
          std::vector<at::Tensor> values_BNTH);

  // From stacked streams [2 L, T, D], where B is 1, or [2 L, B, T, D]: keys of layer 0 .. L-1, then
  // values of layer 0 .. L-1. The cache views `streams`. Errors: c10::Error, as above.
  static KvCache from_streams(KvGeometry geometry, const at::Tensor& streams);

  // The inverse of from_streams for one sequence: [2 L, T, D], contiguous, a copy. Errors:
  // c10::Error unless B is 1.
  at::Tensor streams() const;

  const KvGeometry& geometry() const { return geometry_; }
  int64_t batch_size() const;
  int64_t num_tokens() const;

  // [B, N, T, H]. Errors: c10::Error for a layer that does not exist.
  const at::Tensor& keys(int64_t layer) const;
  const at::Tensor& values(int64_t layer) const;

  // A deep copy.
  KvCache clone() const;

  // Tokens [first_token, first_token + num_tokens) of every layer, as views of this cache.
  // Errors: c10::Error for a range outside the cache.
  KvCache slice(int64_t first_token, int64_t num_tokens) const;

 private:
  KvGeometry geometry_;
  std::vector<at::Tensor> keys_BNTH_;
  std::vector<at::Tensor> values_BNTH_;
};

}  // namespace kvalign
