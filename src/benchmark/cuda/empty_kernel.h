// The least that a device can be given to do. C++17, no CUDA headers. Private to benchmark/.
#pragma once

#include "kvalign/format/export.h"

struct CUstream_st;  // cudaStream_t points to one; null is the default stream

namespace kvalign::cuda {

/// One thread that does nothing. False where it could not be started.
[[nodiscard]] KVALIGN_API bool launch_empty_kernel(CUstream_st* stream) noexcept;

}  // namespace kvalign::cuda
