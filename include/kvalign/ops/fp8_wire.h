// The FP8 types in which a cache can cross the network, by the names that recipes give them:
// "float8_e4m3fn/token" is a format and a granularity of scales.
//
// Shapes:  S streams   T tokens   D width = kv heads * head dim   B sequences
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/format/fp8_quantise.h"

namespace kvalign {

struct Fp8Wire {
  Fp8Format format = Fp8Format::kE4M3FN;
  ScaleGranularity granularity = ScaleGranularity::kToken;
};

/// All of them: each of two formats with each of five granularities.
KVALIGN_API const std::vector<std::string>& fp8_wire_names();

/// Throws std::invalid_argument for another name, with those that there are.
KVALIGN_API Fp8Wire parse_fp8_wire(const std::string& name);

/// The inverse: its name.
KVALIGN_API const std::string& fp8_wire_name(const Fp8Wire& wire);

/// What arrives of caches that are sent one by one: sequence b is tokens
/// [sequence_offsets_B[b], sequence_offsets_B[b + 1]) and has scales of its own. float32 [S, T, D],
/// int64 [B + 1] on the CPU, from 0 to T. Throws c10::Error as Fp8Quantizer::quantise.
KVALIGN_API at::Tensor send_caches(const Fp8Wire& wire, const at::Tensor& streams_STD,
                                   const at::Tensor& sequence_offsets_B, int64_t num_kv_heads);

/// The same of one cache, of all its tokens.
KVALIGN_API at::Tensor send_cache(const Fp8Wire& wire, const at::Tensor& streams_STD,
                                  int64_t num_kv_heads);

/// Codes and scales of one cache of S streams, without a packet's framing.
struct Fp8WireBytes {
  int64_t per_token = 0;  ///< codes, and the scales that travel with their tokens
  int64_t once = 0;       ///< scales of tensors, heads or channels
};
KVALIGN_API Fp8WireBytes fp8_wire_bytes(const Fp8Wire& wire, int64_t num_streams, int64_t width,
                                        int64_t num_kv_heads);

}  // namespace kvalign
