// Where a thread works: on N neighbouring channels of every so-manieth token, so that it finds out
// once where its scale is, and its loop divides no index.
#pragma once

#include "fp8_pack.cuh"

namespace kvalign::cuda {

// N channels, whose first is `column` of a token's; `scale` is the index of their first scale at
// token 0, and the next token's is `scale_step` further. Lanes outside have the place of column 0.
struct Place {
  size_t column, first_token, token_step, scale, scale_step;
  bool inside;
};

template <int N>
__device__ Place place_of(const Fp8Layout& layout) {
  const size_t width = layout.num_kv_heads * layout.head_dim;
  const size_t wanted = (size_t{blockIdx.x} * blockDim.x + threadIdx.x) * N;
  const bool inside = wanted < width;
  const size_t column = inside ? wanted : 0;
  const size_t head = column / layout.head_dim, channel = column % layout.head_dim;
  const size_t scale = fp8_scale_index(layout, 0, head, channel);
  return {column, size_t{blockIdx.y} * blockDim.y + threadIdx.y,     size_t{gridDim.y} * blockDim.y,
          scale,  fp8_scale_index(layout, 1, head, channel) - scale, inside};
}

template <int N>
__device__ PackScales<N> scales_at(const Fp8Layout& layout, const float* scales) {
  PackScales<N> result;
  if (layout.granularity == ScaleGranularity::kChannel) {
    for (int i = 0; i < N; ++i) result.set(i, scales[i]);
  } else {
    result.set_all(scales[0]);
  }
  return result;
}

}  // namespace kvalign::cuda
