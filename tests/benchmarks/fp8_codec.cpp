// Times the FP8 codec (E4M3FN, a scale a token) beside two things in the same process: a copy that
// moves as many bytes, and LibTorch's casts to float8_e4m3fn and back, which do less: no scales, no
// checks. One thread, whose CPU time is read, so that others on the machine take none of it;
// buffers larger than the caches; every round in turn. Prints the median [least, most] over the
// rounds of each ratio of speeds. Usage: fp8_codec [MiB of float32] [rounds]
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <time.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <iomanip>
#include <iostream>
#include <vector>

#include "kvalign/ops/fp8_codec.h"
#include "tests/benchmarks/subjects.h"

namespace {

using namespace kvalign;

constexpr int64_t kHeads = 8, kHeadDim = 128;  // Qwen3's and Llama's cache of a token and layer

double seconds_of(const std::function<void()>& run) {
  const auto now = [] {
    timespec time = {};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  run();
  return now() - start;
}

void check(const Fp8Result& result) {
  TORCH_CHECK(result.ok(), "fp8_codec: a conversion failed");
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t tokens = (argc > 1 ? std::atoll(argv[1]) : 64) * (1 << 20) / 4 / kHeads / kHeadDim;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 101;
  at::set_num_threads(1);
  const auto options = at::TensorOptions();
  const at::Tensor values = at::randn({tokens, kHeads * kHeadDim});
  at::Tensor decoded = at::zeros_like(values), scales = at::zeros({tokens});
  at::Tensor codes = at::zeros_like(values, options.dtype(at::kByte));
  at::Tensor float8 = at::zeros_like(values, options.dtype(at::kFloat8_e4m3fn));
  const auto elements = static_cast<size_t>(values.numel());
  const size_t moved = 5 * elements;  // 4 bytes on one side and 1 on the other
  std::vector<char> source(moved / 2, 1), target(moved / 2, 2);

  const Fp8Layout layout = {static_cast<size_t>(tokens), kHeads, kHeadDim, ScaleGranularity::kToken,
                            Fp8Format::kE4M3FN};
  const std::span<const float> value_span(values.const_data_ptr<float>(), elements);
  const std::span<float> scale_span(scales.mutable_data_ptr<float>(), tokens);
  const std::span<uint8_t> code_span(codes.mutable_data_ptr<uint8_t>(), elements);
  const std::span<float> decoded_span(decoded.mutable_data_ptr<float>(), elements);
  const auto copy = [&] { std::memcpy(target.data(), source.data(), moved / 2); };

  Subject subjects[] = {
      {"copy", copy},
      {"encode", [&] { check(fast::quantise_fp8(layout, value_span, scale_span, code_span)); }},
      {"decode", [&] { check(fast::dequantise_fp8(layout, code_span, scale_span, decoded_span)); }},
      {"torch encode", [&] { float8.copy_(values); }},
      {"torch decode", [&] { decoded.copy_(float8); }},
      {"copy again", copy}};
  for (Subject& subject : subjects) subject.run();  // touches all memory, chooses instructions
  for (int round = 0; round < rounds; ++round) {
    for (Subject& subject : subjects) subject.seconds.push_back(seconds_of(subject.run));
  }

  std::cout << std::fixed << std::setprecision(2) << fast::instruction_set() << ", " << tokens
            << " tokens of " << kHeads * kHeadDim << ", " << rounds << " rounds\n";
  print_codec(subjects, static_cast<double>(moved));
}
