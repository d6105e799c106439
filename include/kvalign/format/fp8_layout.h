// How FP8 codes and their scales lie in memory, and what a conversion reports: shared by the scalar
// reference (fp8_quantise.h), its vector version and CUDA kernels. C++17.
//
// Shapes: values and codes [tokens, num_kv_heads, head_dim] row-major; scales float32, as many as
// num_fp8_scales says. A latent is a tensor with one head.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kvalign/format/export.h"
#include "kvalign/format/fp8_scale.h"

namespace kvalign {

// Which elements share a scale, and in which order the scales stand. The last is OCP MX: powers of
// two, sent as E8M0 (fp8_scale.h), one for each 32 channels of a row; a row's last block is shorter
// where head_dim is no multiple of 32.
enum class ScaleGranularity : uint8_t {
  kTensor,   // [1]
  kHead,     // [num_kv_heads]
  kToken,    // [tokens]: all heads of a token
  kChannel,  // [num_kv_heads, head_dim]: all tokens of a channel
  kBlock32,  // [tokens, num_kv_heads, ceil(head_dim / 32)]
};

constexpr size_t kFp8BlockSize = 32;  // channels of a block; OCP MX

struct Fp8Layout {
  size_t tokens = 0;
  size_t num_kv_heads = 0;
  size_t head_dim = 0;
  ScaleGranularity granularity = ScaleGranularity::kTensor;
  Fp8Format format = Fp8Format::kE4M3FN;
};

enum class Fp8Status : uint8_t {
  kOk,
  kWrongSize,  // a buffer does not have the layout's number of elements
  kNotFinite,  // the value, or the code, at `index` is NaN or Inf
  kBadScale,   // the scale at `index` is not one (is_fp8_scale); blocks: or no power of two
};

struct Fp8Result {
  Fp8Status status = Fp8Status::kOk;
  size_t index = 0;      // of the first offender, for kNotFinite and kBadScale
  size_t saturated = 0;  // elements beyond the largest finite value after rounding, made that value
  size_t flushed = 0;    // elements other than zero that became zero

  bool ok() const { return status == Fp8Status::kOk; }
};

// Scales of a row (token, head) with blocks.
KVALIGN_HOST_DEVICE constexpr size_t fp8_blocks_of_row(const Fp8Layout& layout) {
  return layout.head_dim / kFp8BlockSize + (layout.head_dim % kFp8BlockSize != 0);
}

// Which of the scales belongs to an element within the layout, and how many there are.
KVALIGN_HOST_DEVICE constexpr size_t fp8_scale_index(const Fp8Layout& layout, size_t token,
                                                     size_t head, size_t channel) {
  switch (layout.granularity) {
    case ScaleGranularity::kTensor:
      return 0;
    case ScaleGranularity::kHead:
      return head;
    case ScaleGranularity::kToken:
      return token;
    case ScaleGranularity::kChannel:
      return head * layout.head_dim + channel;
    case ScaleGranularity::kBlock32:
      return (token * layout.num_kv_heads + head) * fp8_blocks_of_row(layout) +
             channel / kFp8BlockSize;
  }
  return 0;
}
KVALIGN_API size_t num_fp8_scales(const Fp8Layout& layout) noexcept;

// kOk where the buffers have the layout's sizes, otherwise kWrongSize. A product of sizes that does
// not fit matches no buffer: sizes may come from the network.
KVALIGN_API Fp8Result check_fp8_sizes(const Fp8Layout& layout, size_t num_values, size_t num_codes,
                                      size_t num_scales) noexcept;

// May one of the layout's groups have this scale? Those of blocks are powers of two.
KVALIGN_HOST_DEVICE inline bool is_fp8_layout_scale(const Fp8Layout& layout, float scale) {
  const bool power_of_two = (bits_of_float(scale) & 0x7FFFFF) == 0;
  return is_fp8_scale(scale, layout.format) &&
         (power_of_two || layout.granularity != ScaleGranularity::kBlock32);
}

// kOk, or kBadScale with the index of the first of the layout's scales that is none.
KVALIGN_API Fp8Result check_fp8_scales(const Fp8Layout& layout, const float* scales) noexcept;

}  // namespace kvalign
