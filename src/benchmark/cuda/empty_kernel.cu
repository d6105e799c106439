// See empty_kernel.h.
#include "empty_kernel.h"

namespace kvalign::cuda {
namespace {

__global__ void empty_kernel() {}

}  // namespace

bool launch_empty_kernel(CUstream_st* stream) noexcept {
  empty_kernel<<<1, 1, 0, stream>>>();
  return cudaGetLastError() == cudaSuccess;
}

}  // namespace kvalign::cuda
