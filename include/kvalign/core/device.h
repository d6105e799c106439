// From the word in a recipe to a device that exists.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "kvalign/format/export.h"

namespace kvalign {

// Of a recipe. OpenMP ends the process where it cannot start as many as it is asked for.
inline constexpr double kMostThreads = 1024;

// "auto" (the first CUDA device where there is one, else the CPU), "cpu", "cuda" (the first) or
// "cuda:N". Errors: c10::Error that names what was asked for and how many CUDA devices exist.
KVALIGN_API at::Device resolve_device(const std::string& name);

// The same decision for a given number of CUDA devices.
KVALIGN_API at::Device resolve_device(const std::string& name, int64_t num_cuda_devices);

// CUDA devices that this process can use; 0 without a CUDA back end.
KVALIGN_API int64_t num_cuda_devices();

}  // namespace kvalign
