// Kernels around the arithmetic of format/, one thread an element; only the conversion between
// float32 and FP8 has instructions of its own, from sm_89 on. Division is IEEE's: this file must
// not be compiled with --use_fast_math.
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include "kvalign/format/fp8_scale.h"
#include "kvalign/ops/fp8_codec_cuda.h"

namespace kvalign::cuda {
namespace {

constexpr unsigned kThreads = 256, kWarp = 32;
constexpr uint32_t kInfinity = 0x7F800000;  // bits; NaN is above

// --- device functions

__device__ uint8_t to_code(float quotient, Fp8Format format) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  const auto interpretation = format == Fp8Format::kE4M3FN ? __NV_E4M3 : __NV_E5M2;
  return __nv_cvt_float_to_fp8(quotient, __NV_SATFINITE, interpretation);
#else
  return encode_fp8(quotient, format, Fp8Overflow::kSaturate);
#endif
}

__device__ float from_code(uint8_t code, Fp8Format format) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  const auto interpretation = format == Fp8Format::kE4M3FN ? __NV_E4M3 : __NV_E5M2;
  return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, interpretation)));
#else
  return decode_fp8(code, format);
#endif
}

__device__ uint32_t magnitude_of(float value) {
  return __float_as_uint(value) & 0x7FFFFFFF;
}

// Index of the scale of an element.
__device__ size_t scale_index(const Fp8Layout& layout, size_t element) {
  const size_t row = element / layout.head_dim;
  return fp8_scale_index(layout, row / layout.num_kv_heads, row % layout.num_kv_heads,
                         element % layout.head_dim);
}

__device__ float scale_of(uint32_t amax, const Fp8Layout& layout) {
  const float value = __uint_as_float(amax < kInfinity ? amax : 0);  // reported; any scale will do
  return layout.granularity == ScaleGranularity::kBlock32 ? fp8_block_scale_of(value, layout.format)
                                                          : fp8_scale_of(value, layout.format);
}

// Writes an element's code and reports it.
__device__ void encode_element(const Fp8Layout& layout, float value, float scale, size_t element,
                               uint8_t* codes, Fp8Report* report) {
  const float quotient = fp8_quotient(value, scale);
  const uint8_t code = to_code(quotient, layout.format);
  codes[element] = code;
  if (magnitude_of(value) >= kInfinity) atomicMin(&report->not_finite, element);
  if (fp8_saturates(quotient, layout.format)) atomicAdd(&report->saturated, 1ull);
  if (fp8_flushes(value, code)) atomicAdd(&report->flushed, 1ull);
}

// The largest of a warp's numbers, in every lane.
__device__ uint32_t warp_max(uint32_t number) {
  return __reduce_max_sync(0xFFFFFFFF, number);
}

__device__ size_t first_thread() {
  return size_t{blockIdx.x} * blockDim.x + threadIdx.x;
}
__device__ size_t all_threads() {
  return size_t{gridDim.x} * blockDim.x;
}

// --- kernels

// Amax, as bits, into the scales' memory, which is zero: a warp has 32 elements of a row.
__global__ void find_amax(Fp8Layout layout, const float* values, uint32_t* amax,
                          Fp8Report* report) {
  const size_t chunks_of_row = fp8_blocks_of_row(layout);
  const size_t chunks = layout.tokens * layout.num_kv_heads * chunks_of_row;
  const unsigned lane = threadIdx.x % kWarp;
  for (size_t chunk = first_thread() / kWarp; chunk < chunks; chunk += all_threads() / kWarp) {
    const size_t row = chunk / chunks_of_row;
    const size_t channel = chunk % chunks_of_row * kWarp + lane;
    const size_t element = row * layout.head_dim + channel;
    const bool inside = channel < layout.head_dim;
    const uint32_t magnitude = inside ? magnitude_of(values[element]) : 0;
    if (magnitude >= kInfinity) atomicMin(&report->not_finite, element);
    const uint32_t largest = warp_max(magnitude);
    if (layout.granularity == ScaleGranularity::kChannel) {
      if (inside) atomicMax(&amax[scale_index(layout, element)], magnitude);
    } else if (lane == 0) {
      atomicMax(&amax[scale_index(layout, element)], largest);
    }
  }
}

__global__ void make_scales(Fp8Layout layout, float* scales, size_t num_scales) {
  for (size_t i = first_thread(); i < num_scales; i += all_threads()) {
    scales[i] = scale_of(__float_as_uint(scales[i]), layout);
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

__global__ void encode(Fp8Layout layout, size_t elements, const float* values, const float* scales,
                       uint8_t* codes, Fp8Report* report) {
  for (size_t i = first_thread(); i < elements; i += all_threads()) {
    encode_element(layout, values[i], scales[scale_index(layout, i)], i, codes, report);
  }
}

// A warp a block of 32: its values stay in registers.
__global__ void quantise_blocks(Fp8Layout layout, const float* values, float* scales,
                                uint8_t* codes, Fp8Report* report) {
  const size_t blocks_of_row = fp8_blocks_of_row(layout);
  const size_t blocks = layout.tokens * layout.num_kv_heads * blocks_of_row;
  const unsigned lane = threadIdx.x % kWarp;
  for (size_t block = first_thread() / kWarp; block < blocks; block += all_threads() / kWarp) {
    const size_t channel = block % blocks_of_row * kFp8BlockSize + lane;
    const size_t element = block / blocks_of_row * layout.head_dim + channel;
    const bool inside = channel < layout.head_dim;
    const float value = inside ? values[element] : 0.0f;
    const float scale = scale_of(warp_max(magnitude_of(value)), layout);
    if (lane == 0) scales[block] = scale;
    if (inside) encode_element(layout, value, scale, element, codes, report);
  }
}

// A group of threads a token: the second reading of its row is from the cache.
__global__ void quantise_tokens(Fp8Layout layout, const float* values, float* scales,
                                uint8_t* codes, Fp8Report* report) {
  __shared__ uint32_t amax;
  const size_t width = layout.num_kv_heads * layout.head_dim;
  for (size_t token = blockIdx.x; token < layout.tokens; token += gridDim.x) {
    if (threadIdx.x == 0) amax = 0;
    __syncthreads();
    uint32_t largest = 0;
    for (size_t i = threadIdx.x; i < width; i += blockDim.x) {
      largest = max(largest, magnitude_of(values[token * width + i]));
    }
    largest = warp_max(largest);
    if (threadIdx.x % kWarp == 0) atomicMax(&amax, largest);
    __syncthreads();
    const float scale = scale_of(amax, layout);
    if (threadIdx.x == 0) scales[token] = scale;
    for (size_t i = token * width + threadIdx.x; i < (token + 1) * width; i += blockDim.x) {
      encode_element(layout, values[i], scale, i, codes, report);
    }
    __syncthreads();  // amax is read by all before it is reset
  }
}

template <class Output>
__global__ void decode(Fp8Layout layout, size_t elements, const uint8_t* codes, const float* scales,
                       Output* values, Fp8Report* report) {
  for (size_t i = first_thread(); i < elements; i += all_threads()) {
    if (!is_finite_fp8(codes[i], layout.format)) {
      atomicMin(&report->not_finite, static_cast<unsigned long long>(i));
    }
    const float value = from_code(codes[i], layout.format) * scales[scale_index(layout, i)];
    narrow_float(value, values[i]);
  }
}

// --- launchers

size_t elements_of(const Fp8Layout& layout) {
  return layout.tokens * layout.num_kv_heads * layout.head_dim;
}

// Thread groups for a thread a piece of work; kernels take the rest in turns.
unsigned groups_for(size_t work) {
  constexpr size_t kMost = 8192;
  const size_t groups = (work + kThreads - 1) / kThreads;
  return static_cast<unsigned>(groups < kMost ? groups : kMost);
}

bool started() {
  return cudaGetLastError() == cudaSuccess;
}

bool check_all_scales(const Fp8Layout& layout, const float* scales, Fp8Report* report,
                      cudaStream_t stream) {
  const size_t num_scales = num_fp8_scales(layout);
  if (num_scales == 0) return true;
  check_scales<<<groups_for(num_scales), kThreads, 0, stream>>>(layout, scales, num_scales, report);
  return started();
}

template <class Output>
bool start_decode(const Fp8Layout& layout, const uint8_t* codes, const float* scales,
                  Output* values, Fp8Report* report, cudaStream_t stream) {
  if (!check_all_scales(layout, scales, report, stream)) return false;
  const size_t elements = elements_of(layout);
  if (elements == 0) return true;
  decode<<<groups_for(elements), kThreads, 0, stream>>>(layout, elements, codes, scales, values,
                                                        report);
  return started();
}

bool start_encode(const Fp8Layout& layout, const float* values, const float* scales, uint8_t* codes,
                  Fp8Report* report, cudaStream_t stream) {
  const size_t elements = elements_of(layout);
  if (elements == 0) return true;
  encode<<<groups_for(elements), kThreads, 0, stream>>>(layout, elements, values, scales, codes,
                                                        report);
  return started();
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
    const size_t chunks = layout.tokens * layout.num_kv_heads * fp8_blocks_of_row(layout);
    find_amax<<<groups_for(chunks * kWarp), kThreads, 0, stream>>>(
        layout, values, reinterpret_cast<uint32_t*>(scales), report);
  }
  make_scales<<<groups_for(num_scales), kThreads, 0, stream>>>(layout, scales, num_scales);
  return started();
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
  if (tokens) {
    const unsigned groups = groups_for(layout.tokens * kThreads);
    quantise_tokens<<<groups, kThreads, 0, stream>>>(layout, values, scales, codes, report);
  } else {
    const unsigned groups = groups_for(num_fp8_scales(layout) * kWarp);
    quantise_blocks<<<groups, kThreads, 0, stream>>>(layout, values, scales, codes, report);
  }
  return started();
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
