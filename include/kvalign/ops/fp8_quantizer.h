// Streams of a cache, or latents, to FP8 codes and scales and back, on LibTorch tensors of any
// device: the arithmetic of format/fp8_quantise.h, bit for bit. Straight-through gradients let
// training see what the wire does.
//
// Shapes:  S streams   T tokens   D width = N kv heads * H head dim   b blocks of 32 in D, the last
//          may be shorter
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/format/fp8_quantise.h"

namespace kvalign {

struct Fp8Streams {
  at::Tensor codes_STD;  ///< uint8
  /// float32: [S, 1, 1, 1] a tensor, [S, 1, N, 1] a head, [S, T, 1, 1] a token, [S, 1, N, H] a
  /// channel, [S, T, b, 1] a block of 32 (powers of two)
  at::Tensor scales;
  at::Tensor saturated;  ///< int64 []: elements beyond the largest finite value, made that value
  at::Tensor flushed;    ///< int64 []: elements other than zero that became zero
};

class KVALIGN_API Fp8Quantizer {
 public:
  /// Every stream has scales of its own. Blocks run along the whole width, heads or not.
  /// Throws c10::Error for num_kv_heads below 1.
  Fp8Quantizer(Fp8Format format, ScaleGranularity granularity, int64_t num_kv_heads);

  /// Scales from each group's amax, then codes. float32 [S, T, D]. Throws c10::Error for another
  /// type or shape, and naming the first element that is NaN or Inf. Waits for the device.
  Fp8Streams quantise(const at::Tensor& streams_STD) const;

  /// Codes times scales: float32 [S, T, D].
  at::Tensor dequantise(const Fp8Streams& sent) const;

  /// What arrives of `streams_STD`; gradients pass as if it were the same.
  at::Tensor round_trip(const at::Tensor& streams_STD) const;

  /// What codes and scales of one token of one stream of width `width` take, in bytes; static
  /// scales (tensor, head, channel) are counted once a cache and not here.
  int64_t bytes_per_token(int64_t width) const;

 private:
  at::Tensor grouped(const at::Tensor& streams_STD) const;
  at::Tensor ungrouped(const at::Tensor& grouped, int64_t width) const;
  // Of one stream, as the vector codec knows it; sizes of the scales of all.
  Fp8Layout layout_of(const at::Tensor& streams_STD) const;
  std::vector<int64_t> scale_sizes(const at::Tensor& streams_STD) const;
  // For contiguous CPU tensors; the second returns false for codes or scales that are none.
  Fp8Streams quantise_plain(const at::Tensor& streams_STD) const;
  bool dequantise_plain(const Fp8Streams& sent, const at::Tensor& arrived_STD) const;

  Fp8Format format_;
  ScaleGranularity granularity_;
  int64_t num_kv_heads_;
};

}  // namespace kvalign
