// N elements that one instruction moves, and what the FP8 kernels do to them: the arithmetic is
// that of format/; only the conversion between float32 and FP8 has instructions of its own, from
// sm_89 on.
#pragma once

#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include "kvalign/format/fp8_scale.h"
#include "kvalign/ops/fp8_codec_cuda.h"

namespace kvalign::cuda {

constexpr unsigned kWarp = 32, kAllLanes = 0xFFFFFFFF;
constexpr uint32_t kInfinity = 0x7F800000;  // bits; NaN is above

template <class Element, int N>
struct alignas(N * sizeof(Element)) Pack {
  Element at[N];
};

template <int N, class Element>
__device__ Pack<Element, N> load(const Element* elements) {
  return *reinterpret_cast<const Pack<Element, N>*>(elements);
}
template <int N, class Element>
__device__ void store(const Pack<Element, N>& pack, Element* elements) {
  *reinterpret_cast<Pack<Element, N>*>(elements) = pack;
}

template <Fp8Format kFormat>
constexpr __nv_fp8_interpretation_t kInterpretation =
    kFormat == Fp8Format::kE4M3FN ? __NV_E4M3 : __NV_E5M2;

template <Fp8Format kFormat, int N>
__device__ Pack<uint8_t, N> to_codes(const Pack<float, N>& quotients) {
  Pack<uint8_t, N> codes;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  if constexpr (N % 2 == 0) {
    for (int i = 0; i < N; i += 2) {
      const __nv_fp8x2_storage_t two =
          __nv_cvt_float2_to_fp8x2(make_float2(quotients.at[i], quotients.at[i + 1]),
                                   __NV_SATFINITE, kInterpretation<kFormat>);
      codes.at[i] = static_cast<uint8_t>(two), codes.at[i + 1] = static_cast<uint8_t>(two >> 8);
    }
  } else {
    for (int i = 0; i < N; ++i) {
      codes.at[i] =
          __nv_cvt_float_to_fp8(quotients.at[i], __NV_SATFINITE, kInterpretation<kFormat>);
    }
  }
#else
  for (int i = 0; i < N; ++i) {
    codes.at[i] = encode_fp8(quotients.at[i], kFormat, Fp8Overflow::kSaturate);
  }
#endif
  return codes;
}

template <Fp8Format kFormat>
__device__ float from_code(uint8_t code) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, kInterpretation<kFormat>)));
#else
  return decode_fp8(code, kFormat);
#endif
}

__device__ inline uint32_t magnitude_of(float value) {
  return __float_as_uint(value) & 0x7FFFFFFF;
}

// The largest magnitude, as bits. `element` is the index of the pack's first.
template <int N>
__device__ uint32_t amax_of(const Pack<float, N>& values, size_t element, Fp8Report* report) {
  uint32_t largest = 0;
  for (const float value : values.at) largest = max(largest, magnitude_of(value));
  if (largest >= kInfinity) {
    for (int i = 0; i < N; ++i) {
      if (magnitude_of(values.at[i]) >= kInfinity) atomicMin(&report->not_finite, element + i);
    }
  }
  return largest;
}

template <Fp8Format kFormat>
__device__ float scale_of(uint32_t amax, bool of_block) {
  const float value = __uint_as_float(amax < kInfinity ? amax : 0);  // reported; any scale will do
  return of_block ? fp8_block_scale_of(value, kFormat) : fp8_scale_of(value, kFormat);
}

// Scales of the elements of a pack: of each its own, or one for all.
template <int N>
struct PackScales {
  float scale[N], reciprocal[N];

  __device__ void set(int i, float value) {
    scale[i] = value;
    reciprocal[i] = fp8_reciprocal(value);
  }
  __device__ void set_all(float value) {
    set(0, value);
    for (int i = 1; i < N; ++i) scale[i] = scale[0], reciprocal[i] = reciprocal[0];
  }
};

// What a thread has seen; reported once.
struct Counts {
  unsigned saturated = 0, flushed = 0;

  // All lanes of the warp must call it.
  __device__ void report_to(Fp8Report* report) const {
    const unsigned all_saturated = __reduce_add_sync(kAllLanes, saturated);
    const unsigned all_flushed = __reduce_add_sync(kAllLanes, flushed);
    if (threadIdx.x % kWarp != 0) return;
    if (all_saturated > 0) atomicAdd(&report->saturated, 1ull * all_saturated);
    if (all_flushed > 0) atomicAdd(&report->flushed, 1ull * all_flushed);
  }
};

// `amax` is that of the pack, as bits.
template <int N>
__device__ Pack<float, N> quotients_of(const Pack<float, N>& values, uint32_t amax,
                                       const PackScales<N>& scales) {
  bool by_reciprocal = true;
  for (const float reciprocal : scales.reciprocal) {
    by_reciprocal &= fp8_divides_by_reciprocal(__uint_as_float(amax), reciprocal);
  }
  Pack<float, N> quotients;
  if (by_reciprocal) {
    for (int i = 0; i < N; ++i) {
      quotients.at[i] = fp8_quotient(values.at[i], scales.scale[i], scales.reciprocal[i]);
    }
  } else {
    for (int i = 0; i < N; ++i) quotients.at[i] = fp8_quotient(values.at[i], scales.scale[i]);
  }
  return quotients;
}

template <int N, Fp8Format kFormat>
__device__ void encode_pack(const Pack<float, N>& values, uint32_t amax,
                            const PackScales<N>& scales, uint8_t* codes, Counts& counts) {
  const Pack<float, N> quotients = quotients_of(values, amax, scales);
  const Pack<uint8_t, N> encoded = to_codes<kFormat>(quotients);
  bool may_count = false;  // seldom
  for (int i = 0; i < N; ++i) {
    may_count |= fp8_saturates(quotients.at[i], kFormat) || (encoded.at[i] & 0x7F) == 0;
  }
  if (may_count) {
    for (int i = 0; i < N; ++i) {
      counts.saturated += fp8_saturates(quotients.at[i], kFormat);
      counts.flushed += fp8_flushes(values.at[i], encoded.at[i]);
    }
  }
  store(encoded, codes);
}

}  // namespace kvalign::cuda
