// CUDA's own FP8 conversions, run on the CPU, where the toolkit's header was found: kHaveCudaFp8.
#pragma once

#include <cstdint>

#if __has_include(<cuda_fp8.h>)
#include <cuda_fp8.h>
#define KVALIGN_HAVE_CUDA_FP8 true
#else
#define KVALIGN_HAVE_CUDA_FP8 false
#endif

#include "kvalign/format/fp8.h"

namespace kvalign::testing {

constexpr bool kHaveCudaFp8 = KVALIGN_HAVE_CUDA_FP8;

#if KVALIGN_HAVE_CUDA_FP8
inline __nv_fp8_interpretation_t cuda_format(Fp8Format format) {
  return format == Fp8Format::kE4M3FN ? __NV_E4M3 : __NV_E5M2;
}
// kSaturate or kNoSaturate: CUDA has no third mode.
inline uint8_t cuda_fp8(float value, Fp8Format format, Fp8Overflow overflow) {
  return __nv_cvt_float_to_fp8(
      value, overflow == Fp8Overflow::kSaturate ? __NV_SATFINITE : __NV_NOSAT, cuda_format(format));
}
inline float cuda_float(uint8_t code, Fp8Format format) {
  return static_cast<float>(__half(__nv_cvt_fp8_to_halfraw(code, cuda_format(format))));
}
#else  // never called: the tests skip
inline uint8_t cuda_fp8(float, Fp8Format, Fp8Overflow) {
  return 0;
}
inline float cuda_float(uint8_t, Fp8Format) {
  return 0;
}
#endif

}  // namespace kvalign::testing
