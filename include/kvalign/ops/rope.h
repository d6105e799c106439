// Rotary position embedding (RoPE) of keys: applied to content keys, and taken off rotated ones.
// Follows transformers' arithmetic (float32 frequencies, angles, cosines and sines), because what
// was captured was rotated by it.
//
// Shapes: B batch, N kv heads, T tokens, H head dim, P rotary_dim / 2 pairs of channels
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/format/geometry.h"

namespace kvalign {

/// Radians a token of each pair of channels: theta^(-2p / rotary_dim), changed by the scaling as in
/// transformers' modeling_rope_utils.py:
///   linear: divided by factor (arXiv 2306.15595);
///   llama3: wavelengths above original_max_position_embeddings / low_freq_factor are divided by
///           factor, those below original_max_position_embeddings / high_freq_factor are kept, and
///           those between are interpolated (Llama 3.1).
/// Returns [P] float32 on the CPU. Throws c10::Error for a theta, rotary_dim or scaling that means
/// nothing.
KVALIGN_API at::Tensor rope_inverse_frequencies(const RopeOptions& rope);

/// Cosines and sines of some positions, made once for the keys and queries of all layers.
struct RopeTable {
  RopePairing pairing = RopePairing::kHalf;
  at::Tensor cos, sin;  ///< float32 [T, P], or [B, 1, T, P] where positions differ by batch row
};

/// positions: int64 [T] or [B, T]; the table is on their device. Throws as
/// rope_inverse_frequencies, and c10::Error for other positions.
KVALIGN_API RopeTable make_rope_table(const at::Tensor& positions, const RopeOptions& rope);

/// Rotates the first rotary_dim channels of content keys by the angle of their position; the rest
/// pass. Pairing `half` turns channels (p, p + P) together, `interleaved` (2p, 2p + 1).
/// keys_BNTH: any floating dtype and device; positions_T: int64 [T] on the same device.
/// Returns a new tensor of the keys' shape and dtype; float16 and bfloat16 are rotated in float32.
/// Throws c10::Error for wrong shapes or dtypes, and where rotary_dim exceeds H.
KVALIGN_API at::Tensor apply_rope(const at::Tensor& keys_BNTH, const at::Tensor& positions_T,
                                  const RopeOptions& rope);

KVALIGN_API at::Tensor apply_rope(const at::Tensor& keys_BNTH, const RopeTable& table);

/// The keys of several layers, of one shape and dtype, by as many operations as those of one: on a
/// GPU what a cache costs is mostly their number. The results are views of one new tensor.
KVALIGN_API std::vector<at::Tensor> apply_rope(const std::vector<at::Tensor>& keys_BNTH,
                                               const RopeTable& table);

/// The inverse of apply_rope: rotated keys to content keys, by the opposite angle. Same arguments.
KVALIGN_API at::Tensor remove_rope(const at::Tensor& keys_BNTH, const at::Tensor& positions_T,
                                   const RopeOptions& rope);
KVALIGN_API at::Tensor remove_rope(const at::Tensor& keys_BNTH, const RopeTable& table);

}  // namespace kvalign
