// The conversions of format/fp8_quantise.h on a CUDA device, in builds with a CUDA toolkit (target
// kvalign::ops_cuda): the same codes, scales and values, and the same result in a report that the
// host reads when it needs it. Every function only starts kernels on `stream`; pointers are of
// device memory, with as many elements as the layout has, which is the caller's to ensure. Each
// returns false where a kernel could not be started. C++17, no CUDA headers.
#pragma once

#include <cstdint>

#include "kvalign/format/export.h"
#include "kvalign/format/fp8_layout.h"
#include "kvalign/format/half.h"

struct CUstream_st;  // cudaStream_t points to one; null is the default stream

namespace kvalign::cuda {

// In device memory. reset_report makes it one of nothing; the functions add to it.
struct Fp8Report {
  unsigned long long bad_scale;   // index of the first, or kNone
  unsigned long long not_finite;  // index of the first value or code, or kNone
  unsigned long long saturated, flushed;

  static constexpr unsigned long long kNone = ~0ull;
};

// What a report, copied to the host, says in the words of the scalar codec.
inline Fp8Result result_of(const Fp8Report& report) {
  Fp8Result result;
  if (report.bad_scale != Fp8Report::kNone) {
    result.status = Fp8Status::kBadScale;
    result.index = static_cast<size_t>(report.bad_scale);
  } else if (report.not_finite != Fp8Report::kNone) {
    result.status = Fp8Status::kNotFinite;
    result.index = static_cast<size_t>(report.not_finite);
  } else {
    result.saturated = static_cast<size_t>(report.saturated);
    result.flushed = static_cast<size_t>(report.flushed);
  }
  return result;
}

[[nodiscard]] KVALIGN_API bool reset_report(Fp8Report* report, CUstream_st* stream) noexcept;

// Amax of each group, then its scale.
[[nodiscard]] KVALIGN_API bool choose_fp8_scales(const Fp8Layout& layout, const float* values,
                                                 float* scales, Fp8Report* report,
                                                 CUstream_st* stream) noexcept;
[[nodiscard]] KVALIGN_API bool encode_fp8(const Fp8Layout& layout, const float* values,
                                          const float* scales, uint8_t* codes, Fp8Report* report,
                                          CUstream_st* stream) noexcept;
// One kernel that reads values from memory once for scales of tokens and of blocks.
[[nodiscard]] KVALIGN_API bool quantise_fp8(const Fp8Layout& layout, const float* values,
                                            float* scales, uint8_t* codes, Fp8Report* report,
                                            CUstream_st* stream) noexcept;
[[nodiscard]] KVALIGN_API bool dequantise_fp8(const Fp8Layout& layout, const uint8_t* codes,
                                              const float* scales, float* values, Fp8Report* report,
                                              CUstream_st* stream) noexcept;
[[nodiscard]] KVALIGN_API bool dequantise_fp8(const Fp8Layout& layout, const uint8_t* codes,
                                              const float* scales, Bfloat16* values,
                                              Fp8Report* report, CUstream_st* stream) noexcept;
[[nodiscard]] KVALIGN_API bool dequantise_fp8(const Fp8Layout& layout, const uint8_t* codes,
                                              const float* scales, Float16* values,
                                              Fp8Report* report, CUstream_st* stream) noexcept;

}  // namespace kvalign::cuda
