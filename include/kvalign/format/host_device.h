// KVALIGN_HOST_DEVICE marks functions that CUDA kernels call too; every other compiler sees
// nothing.
#pragma once

#if defined(__CUDACC__)
#define KVALIGN_HOST_DEVICE __host__ __device__
#else
#define KVALIGN_HOST_DEVICE
#endif
