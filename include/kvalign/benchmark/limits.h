// What a machine can do at most, measured beside every benchmark: bytes a second of a copy,
// operations a second, and what the smallest call costs. A time is compared with these.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kvalign/benchmark/turns.h"
#include "kvalign/format/export.h"

namespace kvalign::benchmark {

struct KVALIGN_API Limits {
  double copy_bytes_per_second = 0;  ///< read and written; buffers far larger than the caches
  /// float32 on the CPU: a loop of fused multiply-adds in registers, on all threads. Elsewhere the
  /// faster of that and a square matrix product, for there are units that the loop does not use.
  double float32_flops_per_second = 0;
  double bfloat16_flops_per_second = 0;
  double empty_call_seconds = 0;  ///< of LibTorch's smallest operation, on one number
  /// One of many kernels in a CUDA graph that do nothing, one after the other; NaN: no such device.
  double empty_kernel_seconds = std::numeric_limits<double>::quiet_NaN();

  double flops_per_second(at::ScalarType dtype) const;
};

/// The best of a few rounds each, with as many threads as LibTorch uses.
KVALIGN_API Limits measure_limits(at::Device device, const Stopwatch& stopwatch);

/// "copy_gb_per_s", "float32_gflop_per_s", "bfloat16_gflop_per_s", "empty_call_us",
/// "empty_kernel_us" (null on a CPU).
KVALIGN_API nlohmann::json to_json(const Limits& limits);

/// Bytes of the device's last cache: what Linux says of a CPU, 32 MiB where it says nothing; 128
/// MiB of a CUDA device, which no present one exceeds.
KVALIGN_API int64_t last_cache_bytes(at::Device device);

/// "float32", "bfloat16" or "float8_e4m3fn". Throws c10::Error for another.
KVALIGN_API std::string dtype_name(at::ScalarType dtype);

}  // namespace kvalign::benchmark
