// The FP8 kernels and their launchers; what is done to a pack of elements is in fp8_pack.cuh.
// Division is IEEE's: this file must not be compiled with --use_fast_math.
#include <cuda_runtime.h>

#include <type_traits>

#include "fp8_place.cuh"
#include "kvalign/ops/fp8_codec_cuda.h"

namespace kvalign::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kAmaxGroups = 512;  // of kernels whose threads end in atomics
constexpr unsigned kGroups = 2048;     // of threads, at most: about two for each place on an H100

__device__ size_t first_thread() {
  return size_t{blockIdx.x} * blockDim.x + threadIdx.x;
}
__device__ size_t all_threads() {
  return size_t{gridDim.x} * blockDim.x;
}

// --- kernels

// amax[index] = the largest over the lanes of the warp with that index, and what is there.
__device__ void raise(uint32_t* amax, size_t index, uint32_t magnitude) {
  const unsigned peers = __match_any_sync(kAllLanes, static_cast<unsigned long long>(index));
  const uint32_t largest = __reduce_max_sync(peers, magnitude);
  if (threadIdx.x % kWarp == __ffs(static_cast<int>(peers)) - 1) atomicMax(&amax[index], largest);
}

// Amax, as bits, into the scales' memory, which is zero.
template <int N>
__global__ void find_amax(Fp8Layout layout, const float* values, uint32_t* amax,
                          Fp8Report* report) {
  const size_t width = layout.num_kv_heads * layout.head_dim;
  const Place place = place_of<N>(layout);
  const auto read = [&](size_t token) {
    return place.inside ? load<N>(values + token * width + place.column) : Pack<float, N>{};
  };
  const auto amax_at = [&](size_t token) {
    return amax_of(read(token), token * width + place.column, report);
  };
  if (place.scale_step > 0) {
    for (size_t token = place.first_token; token < layout.tokens; token += place.token_step) {
      raise(amax, place.scale + token * place.scale_step, amax_at(token));
    }
    return;
  }
  Pack<uint32_t, N> largest = {};
#pragma unroll 4
  for (size_t token = place.first_token; token < layout.tokens; token += place.token_step) {
    const Pack<float, N> pack = read(token);
    for (int i = 0; i < N; ++i) largest.at[i] = max(largest.at[i], magnitude_of(pack.at[i]));
  }
  uint32_t of_all = 0;
  for (const uint32_t magnitude : largest.at) of_all = max(of_all, magnitude);
  if (of_all >= kInfinity) {  // where was it?
    for (size_t token = place.first_token; token < layout.tokens; token += place.token_step) {
      amax_at(token);
    }
  }
  if (layout.granularity == ScaleGranularity::kChannel) {
    for (int i = 0; i < N && place.inside; ++i) atomicMax(&amax[place.scale + i], largest.at[i]);
  } else {
    raise(amax, place.scale, of_all);
  }
}

__global__ void make_scales(Fp8Layout layout, float* scales, size_t num_scales) {
  const bool blocks = layout.granularity == ScaleGranularity::kBlock32;
  for (size_t i = first_thread(); i < num_scales; i += all_threads()) {
    const uint32_t amax = __float_as_uint(scales[i]);
    scales[i] = layout.format == Fp8Format::kE4M3FN ? scale_of<Fp8Format::kE4M3FN>(amax, blocks)
                                                    : scale_of<Fp8Format::kE5M2>(amax, blocks);
  }
}

__global__ void check_scales(Fp8Layout layout, const float* scales, size_t num_scales,
                             Fp8Report* report) {
  for (size_t i = first_thread(); i < num_scales; i += all_threads()) {
    if (!is_fp8_layout_scale(layout, scales[i])) {
      atomicMin(&report->bad_scale, static_cast<unsigned long long>(i));
    }
  }
}

template <int N, Fp8Format kFormat>
__global__ void encode(Fp8Layout layout, const float* values, const float* scales, uint8_t* codes,
                       Fp8Report* report) {
  const size_t width = layout.num_kv_heads * layout.head_dim;
  const Place place = place_of<N>(layout);
  PackScales<N> pack_scales = scales_at<N>(layout, scales + place.scale);
  const auto read = [&](size_t token) {
    const bool inside = place.inside && token < layout.tokens;
    return inside ? load<N>(values + token * width + place.column) : Pack<float, N>{};
  };
  Counts counts;
  Pack<float, N> next = read(place.first_token);
  for (size_t token = place.first_token; token < layout.tokens && place.inside;
       token += place.token_step) {
    const Pack<float, N> pack = next;
    next = read(token + place.token_step);  // is under way while this one is encoded
    if (place.scale_step > 0) {
      pack_scales.set_all(scales[place.scale + token * place.scale_step]);
    }
    const size_t element = token * width + place.column;
    const uint32_t amax = amax_of(pack, element, report);
    encode_pack<N, kFormat>(pack, amax, pack_scales, codes + element, counts);
  }
  __syncwarp();
  counts.report_to(report);
}

// A group of lanes a block of 32, whose values stay in registers. Packs of more than one element
// are for rows of whole blocks: those lie one after the other.
template <int N, Fp8Format kFormat>
__global__ void quantise_blocks(Fp8Layout layout, const float* values, float* scales,
                                uint8_t* codes, Fp8Report* report) {
  constexpr unsigned kLanes = kFp8BlockSize / N, kBlocks = kWarp / kLanes;  // of a block, of a warp
  const size_t blocks_of_row = fp8_blocks_of_row(layout);
  const size_t blocks = layout.tokens * layout.num_kv_heads * blocks_of_row;
  const unsigned lane = threadIdx.x % kWarp, offset = lane % kLanes * N;
  const auto element_of = [&](size_t block) {
    return N > 1 ? block * kFp8BlockSize + offset
                 : block / blocks_of_row * layout.head_dim + block % blocks_of_row * kFp8BlockSize +
                       offset;
  };
  const auto is_inside = [&](size_t block) {
    return block < blocks &&
           (N > 1 || block % blocks_of_row * kFp8BlockSize + offset < layout.head_dim);
  };
  const auto read = [&](size_t block) {
    return is_inside(block) ? load<N>(values + element_of(block)) : Pack<float, N>{};
  };
  Counts counts;
  const size_t first = first_thread() / kWarp * kBlocks + lane / kLanes;
  const size_t step = all_threads() / kWarp * kBlocks;
  Pack<float, N> next = read(first);
  for (size_t block = first; block - lane / kLanes < blocks;
       block += step) {  // warps stay together
    const Pack<float, N> pack = next;
    next = read(block + step);  // is under way while this one is encoded
    const size_t element = element_of(block);
    const uint32_t amax = amax_of(pack, element, report);
    uint32_t largest = amax;
    for (unsigned distance = kLanes / 2; distance > 0; distance /= 2) {
      largest = max(largest, __shfl_xor_sync(kAllLanes, largest, distance));
    }
    if (!is_inside(block)) continue;
    const float scale = scale_of<kFormat>(largest, /*of_block=*/true);
    if (offset == 0) scales[block] = scale;
    PackScales<N> pack_scales;
    pack_scales.set_all(scale);
    encode_pack<N, kFormat>(pack, amax, pack_scales, codes + element, counts);
  }
  __syncwarp();
  counts.report_to(report);
}

// A warp a token. A lane's first packs stay in registers; the others, of rows wider than most, are
// read again from the cache.
template <int N, Fp8Format kFormat>
__global__ void quantise_tokens(Fp8Layout layout, const float* values, float* scales,
                                uint8_t* codes, Fp8Report* report) {
  constexpr int kKept = 8;
  constexpr size_t kStep = size_t{kWarp} * N;
  const size_t width = layout.num_kv_heads * layout.head_dim;
  const size_t first = threadIdx.x % kWarp * size_t{N};
  Counts counts;
  for (size_t token = first_thread() / kWarp; token < layout.tokens;
       token += all_threads() / kWarp) {
    const auto read = [&](size_t column) {
      return column < width ? load<N>(values + token * width + column) : Pack<float, N>{};
    };
    Pack<float, N> kept[kKept];
    for (int i = 0; i < kKept; ++i) kept[i] = read(first + i * kStep);
    uint32_t largest = 0;
    for (int i = 0; i < kKept; ++i) {
      largest = max(largest, amax_of(kept[i], token * width + first + i * kStep, report));
    }
    for (size_t column = first + kKept * kStep; column < width; column += kStep) {
      largest = max(largest, amax_of(read(column), token * width + column, report));
    }
    largest = __reduce_max_sync(kAllLanes, largest);
    PackScales<N> pack_scales;
    pack_scales.set_all(scale_of<kFormat>(largest, /*of_block=*/false));
    if (first == 0) scales[token] = pack_scales.scale[0];
    const auto encode = [&](size_t column, const Pack<float, N>& pack) {
      if (column >= width) return;
      encode_pack<N, kFormat>(pack, largest, pack_scales, codes + token * width + column, counts);
    };
#pragma unroll
    for (int i = 0; i < kKept; ++i) encode(first + i * kStep, kept[i]);
    for (size_t column = first + kKept * kStep; column < width; column += kStep) {
      encode(column, read(column));
    }
    __syncwarp();
  }
  counts.report_to(report);
}

template <int N, Fp8Format kFormat, class Output>
__global__ void decode(Fp8Layout layout, const uint8_t* codes, const float* scales, Output* values,
                       Fp8Report* report) {
  const size_t width = layout.num_kv_heads * layout.head_dim;
  const Place place = place_of<N>(layout);
  PackScales<N> pack_scales = scales_at<N>(layout, scales + place.scale);
  for (size_t token = place.first_token; token < layout.tokens && place.inside;
       token += place.token_step) {
    const size_t element = token * width + place.column;
    if (place.scale_step > 0) {
      pack_scales.set_all(scales[place.scale + token * place.scale_step]);
    }
    const Pack<uint8_t, N> encoded = load<N>(codes + element);
    Pack<Output, N> decoded;
    bool finite = true;
    for (int i = 0; i < N; ++i) {
      finite &= is_finite_fp8(encoded.at[i], kFormat);
      narrow_float(from_code<kFormat>(encoded.at[i]) * pack_scales.scale[i], decoded.at[i]);
    }
    if (!finite) {
      for (int i = 0; i < N; ++i) {
        if (!is_finite_fp8(encoded.at[i], kFormat)) atomicMin(&report->not_finite, element + i);
      }
    }
    store(decoded, values + element);
  }
}

// --- launchers

size_t elements_of(const Fp8Layout& layout) {
  return layout.tokens * layout.num_kv_heads * layout.head_dim;
}

// Thread groups for a thread a piece of work; kernels take the rest in turns.
unsigned groups_for(size_t work) {
  const size_t groups = (work + kThreads - 1) / kThreads;
  return static_cast<unsigned>(groups < kGroups ? groups : kGroups);
}

// For kernels that ask place_of.
struct Grid {
  dim3 groups, threads;
};
Grid grid_of(const Fp8Layout& layout, int pack, size_t most_groups = kGroups) {
  const size_t packs = layout.num_kv_heads * layout.head_dim / pack;
  const size_t lanes = (packs + kWarp - 1) / kWarp * kWarp;
  const auto across = static_cast<unsigned>(lanes < kThreads ? lanes : kThreads);
  const unsigned down = kThreads / across;
  const size_t groups_across = (packs + across - 1) / across;
  const size_t groups_down = (layout.tokens + down - 1) / down;
  const size_t most = groups_across < most_groups ? most_groups / groups_across : 1;
  return {dim3(static_cast<unsigned>(groups_across),
               static_cast<unsigned>(groups_down < most ? groups_down : most)),
          dim3(across, down)};
}

template <class Pointer>
bool is_aligned(Pointer pointer, size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

// Calls start(pack, format) with constants: packs of four where rows and memory allow.
template <class Element, class Start>
bool with_constants(const Fp8Layout& layout, const Element* values, const uint8_t* codes,
                    const Start& start) {
  const bool fours =
      layout.head_dim % 4 == 0 && is_aligned(values, 4 * sizeof(Element)) && is_aligned(codes, 4);
  const bool e4m3 = layout.format == Fp8Format::kE4M3FN;
  using One = std::integral_constant<int, 1>;
  using Four = std::integral_constant<int, 4>;
  using E4m3 = std::integral_constant<Fp8Format, Fp8Format::kE4M3FN>;
  using E5m2 = std::integral_constant<Fp8Format, Fp8Format::kE5M2>;
  if (fours) e4m3 ? start(Four(), E4m3()) : start(Four(), E5m2());
  if (!fours) e4m3 ? start(One(), E4m3()) : start(One(), E5m2());
  return cudaGetLastError() == cudaSuccess;
}

bool check_all_scales(const Fp8Layout& layout, const float* scales, Fp8Report* report,
                      cudaStream_t stream) {
  const size_t num_scales = num_fp8_scales(layout);
  if (num_scales == 0) return true;
  check_scales<<<groups_for(num_scales), kThreads, 0, stream>>>(layout, scales, num_scales, report);
  return cudaGetLastError() == cudaSuccess;
}

template <class Output>
bool start_decode(const Fp8Layout& layout, const uint8_t* codes, const float* scales,
                  Output* values, Fp8Report* report, cudaStream_t stream) {
  if (!check_all_scales(layout, scales, report, stream)) return false;
  if (elements_of(layout) == 0) return true;
  return with_constants(layout, values, codes, [&](auto pack, auto format) {
    const Grid grid = grid_of(layout, pack);
    decode<pack(), format()>
        <<<grid.groups, grid.threads, 0, stream>>>(layout, codes, scales, values, report);
  });
}

bool start_encode(const Fp8Layout& layout, const float* values, const float* scales, uint8_t* codes,
                  Fp8Report* report, cudaStream_t stream) {
  if (elements_of(layout) == 0) return true;
  return with_constants(layout, values, codes, [&](auto pack, auto format) {
    const Grid grid = grid_of(layout, pack);
    encode<pack(), format()>
        <<<grid.groups, grid.threads, 0, stream>>>(layout, values, scales, codes, report);
  });
}

}  // namespace

bool reset_report(Fp8Report* report, CUstream_st* stream) noexcept {
  // Every byte of kNone is 0xFF.
  return cudaMemsetAsync(report, 0xFF, offsetof(Fp8Report, saturated), stream) == cudaSuccess &&
         cudaMemsetAsync(&report->saturated, 0, 2 * sizeof report->saturated, stream) ==
             cudaSuccess;
}

bool choose_fp8_scales(const Fp8Layout& layout, const float* values, float* scales,
                       Fp8Report* report, CUstream_st* stream) noexcept {
  const size_t num_scales = num_fp8_scales(layout);
  if (num_scales == 0) return true;
  if (cudaMemsetAsync(scales, 0, num_scales * sizeof *scales, stream) != cudaSuccess) return false;
  if (elements_of(layout) != 0) {
    with_constants(layout, values, nullptr, [&](auto pack, auto) {
      const Grid grid = grid_of(layout, pack, kAmaxGroups);
      find_amax<pack()><<<grid.groups, grid.threads, 0, stream>>>(
          layout, values, reinterpret_cast<uint32_t*>(scales), report);
    });
  }
  make_scales<<<groups_for(num_scales), kThreads, 0, stream>>>(layout, scales, num_scales);
  return cudaGetLastError() == cudaSuccess;
}

bool encode_fp8(const Fp8Layout& layout, const float* values, const float* scales, uint8_t* codes,
                Fp8Report* report, CUstream_st* stream) noexcept {
  return check_all_scales(layout, scales, report, stream) &&
         start_encode(layout, values, scales, codes, report, stream);
}

bool quantise_fp8(const Fp8Layout& layout, const float* values, float* scales, uint8_t* codes,
                  Fp8Report* report, CUstream_st* stream) noexcept {
  const bool tokens = layout.granularity == ScaleGranularity::kToken;
  const bool blocks = layout.granularity == ScaleGranularity::kBlock32;
  if (elements_of(layout) == 0 || (!tokens && !blocks)) {
    return choose_fp8_scales(layout, values, scales, report, stream) &&
           start_encode(layout, values, scales, codes, report, stream);
  }
  return with_constants(layout, values, codes, [&](auto pack, auto format) {
    if (tokens) {
      quantise_tokens<pack(), format()><<<groups_for(layout.tokens * kWarp), kThreads, 0, stream>>>(
          layout, values, scales, codes, report);
    } else if (layout.head_dim % kFp8BlockSize == 0) {
      quantise_blocks<pack(), format()>
          <<<groups_for(elements_of(layout) / pack), kThreads, 0, stream>>>(layout, values, scales,
                                                                            codes, report);
    } else {
      quantise_blocks<1, format()>
          <<<groups_for(num_fp8_scales(layout) * kWarp), kThreads, 0, stream>>>(
              layout, values, scales, codes, report);
    }
  });
}

bool dequantise_fp8(const Fp8Layout& layout, const uint8_t* codes, const float* scales,
                    float* values, Fp8Report* report, CUstream_st* stream) noexcept {
  return start_decode(layout, codes, scales, values, report, stream);
}
bool dequantise_fp8(const Fp8Layout& layout, const uint8_t* codes, const float* scales,
                    Bfloat16* values, Fp8Report* report, CUstream_st* stream) noexcept {
  return start_decode(layout, codes, scales, values, report, stream);
}
bool dequantise_fp8(const Fp8Layout& layout, const uint8_t* codes, const float* scales,
                    Float16* values, Fp8Report* report, CUstream_st* stream) noexcept {
  return start_decode(layout, codes, scales, values, report, stream);
}

}  // namespace kvalign::cuda
