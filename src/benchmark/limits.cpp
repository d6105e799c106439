// See limits.h.
#include "kvalign/benchmark/limits.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "call_graphs.h"
#include "copy_bytes.h"
#include "fma_loop.h"

namespace kvalign::benchmark {
namespace {

constexpr int kRounds = 7;
constexpr int64_t kMiB = 1 << 20;

double best_of(const Stopwatch& stopwatch, const std::function<void()>& work) {
  work();
  double best = stopwatch(work);
  for (int round = 1; round < kRounds; ++round) best = std::min(best, stopwatch(work));
  return best;
}

double copy_bytes_per_second(at::Device device, const Stopwatch& stopwatch) {
  const int64_t bytes = (device.is_cpu() ? 256 : 1024) * kMiB;
  const at::Tensor from = at::empty({bytes}, at::device(device).dtype(at::kByte)).random_();
  const at::Tensor to = at::empty_like(from).random_();
  const double seconds = best_of(stopwatch, [&] { copy_bytes(from, to); });
  return 2 * static_cast<double>(bytes) / seconds;
}

double loop_flops_per_second(const Stopwatch& stopwatch) {
  constexpr int64_t kIterations = 5'000'000;
  const int64_t threads = at::get_num_threads();
  std::atomic<float> sum = 0;
  const double seconds = best_of(stopwatch, [&] {
    at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sum += fma_loop(kIterations);
    });
  });
  return static_cast<double>(threads * kIterations * fma_loop_flops()) / seconds;
}

double product_flops_per_second(at::Device device, at::ScalarType dtype,
                                const Stopwatch& stopwatch) {
  const int64_t size = device.is_cpu() ? 512 : 4096;
  const auto options = at::device(device).dtype(dtype);
  const at::Tensor a = at::randn({size, size}, options);
  const at::Tensor b = at::randn({size, size}, options).t();  // as at::linear has its weights
  at::Tensor product = at::empty({size, size}, options);
  const double seconds = best_of(stopwatch, [&] { at::mm_out(product, a, b); });
  return 2 * static_cast<double>(size * size * size) / seconds;
}

double empty_call_seconds(at::Device device, const Stopwatch& stopwatch) {
  constexpr int kCalls = 1000;
  at::Tensor number = at::ones({1}, at::device(device));
  return best_of(stopwatch,
                 [&] {
                   for (int i = 0; i < kCalls; ++i) number.neg_();
                 }) /
         kCalls;
}

double empty_kernel_seconds(at::Device device, const Stopwatch& stopwatch) {
  if (device.is_cpu()) return std::numeric_limits<double>::quiet_NaN();
  constexpr int kKernels = 1000;
  CallGraphs graphs;
  const auto launch_all = [] {
    for (int i = 0; i < kKernels; ++i) launch_empty_kernel();
    return std::vector<at::Tensor>();
  };
  return best_of(stopwatch, graphs.capture(launch_all, device).run) / kKernels;
}

// What the kernel says of one CPU: "32768K" of its caches' largest. The C library counts those of a
// whole socket, which a virtual machine has only a part of.
int64_t largest_cache_of_cpu() {
  int64_t largest = 0;
  for (int index = 0;; ++index) {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) +
                       "/size");
    int64_t kib = 0;
    if (!(file >> kib)) return 1024 * largest;
    largest = std::max(largest, kib);
  }
}

}  // namespace

void copy_bytes(const at::Tensor& from, const at::Tensor& to) {
  if (!from.is_cpu()) {
    to.copy_(from);
    return;
  }
  const auto* source = static_cast<const char*>(from.const_data_ptr());
  auto* target = static_cast<char*>(to.data_ptr());
  at::parallel_for(0, from.numel(), kMiB, [&](int64_t begin, int64_t end) {
    std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin));
  });
}

double Limits::flops_per_second(at::ScalarType dtype) const {
  return dtype == at::kBFloat16 ? bfloat16_flops_per_second : float32_flops_per_second;
}

Limits measure_limits(at::Device device, const Stopwatch& stopwatch) {
  const double loop = device.is_cpu() ? loop_flops_per_second(stopwatch) : 0;
  return {.copy_bytes_per_second = copy_bytes_per_second(device, stopwatch),
          .float32_flops_per_second =
              device.is_cpu() ? loop : product_flops_per_second(device, at::kFloat, stopwatch),
          .bfloat16_flops_per_second =
              std::max(loop, product_flops_per_second(device, at::kBFloat16, stopwatch)),
          .empty_call_seconds = empty_call_seconds(device, stopwatch),
          .empty_kernel_seconds = empty_kernel_seconds(device, stopwatch)};
}

nlohmann::json to_json(const Limits& limits) {
  const double kernel_us = 1e6 * limits.empty_kernel_seconds;
  return {
      {"copy_gb_per_s", 1e-9 * limits.copy_bytes_per_second},
      {"float32_gflop_per_s", 1e-9 * limits.float32_flops_per_second},
      {"bfloat16_gflop_per_s", 1e-9 * limits.bfloat16_flops_per_second},
      {"empty_call_us", 1e6 * limits.empty_call_seconds},
      {"empty_kernel_us", std::isnan(kernel_us) ? nlohmann::json() : nlohmann::json(kernel_us)}};
}

int64_t last_cache_bytes(at::Device device) {
  if (!device.is_cpu()) return 128 * kMiB;
  const int64_t bytes = largest_cache_of_cpu();
  return bytes > 0 ? bytes : 32 * kMiB;
}

std::string dtype_name(at::ScalarType dtype) {
  if (dtype == at::kFloat) return "float32";
  if (dtype == at::kBFloat16) return "bfloat16";
  TORCH_CHECK(dtype == at::kFloat8_e4m3fn,
              "dtype_name: expected float32, bfloat16 or float8_e4m3fn, got ", dtype);
  return "float8_e4m3fn";
}

}  // namespace kvalign::benchmark
