// Times the FP8 kernels (E4M3FN) beside two things on the same CUDA device: a copy that moves as
// many bytes, and LibTorch's casts to float8_e4m3fn and back, which do less: no scales, no checks.
// Device time between events, buffers larger than the caches, every round in turn; before anything
// is timed, every variant's codes and values are compared with the scalar codec's. Prints the
// median [least, most] over the rounds of each ratio of speeds. Usage: fp8_codec_cuda [MiB of
// float32] [rounds]
#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <vector>

#include "kvalign/format/fp8_quantise.h"
#include "kvalign/ops/fp8_codec_cuda.h"
#include "tests/benchmarks/subjects.h"

namespace {

using namespace kvalign;

constexpr int64_t kHeads = 8, kHeadDim = 128;  // Qwen3's and Llama's cache of a token and layer

double seconds_of(const std::function<void()>& run) {
  const c10::impl::VirtualGuardImpl device(c10::kCUDA);
  const c10::Stream stream = device.getStream(device.getDevice());
  c10::Event start(c10::kCUDA, c10::EventFlag::BACKEND_DEFAULT);
  c10::Event end(c10::kCUDA, c10::EventFlag::BACKEND_DEFAULT);
  start.record(stream);
  run();
  end.record(stream);
  end.synchronize();
  return 1e-3 * start.elapsedTime(end);
}

template <class Type>
std::vector<Type> to_host(const at::Tensor& tensor, int64_t count) {
  const at::Tensor host = tensor.flatten().narrow(0, 0, count).cpu();
  const auto* first = static_cast<const Type*>(host.const_data_ptr());
  return {first, first + count};
}

// One granularity's buffers on the device.
class Codec {
 public:
  Codec(const at::Tensor& values, ScaleGranularity granularity)
      : layout_{static_cast<size_t>(values.size(0)), kHeads, kHeadDim, granularity,
                Fp8Format::kE4M3FN},
        values_(values),
        codes_(at::zeros_like(values, values.options().dtype(at::kByte))),
        scales_(at::zeros({static_cast<int64_t>(num_fp8_scales(layout_))}, values.options())),
        decoded_(at::zeros_like(values)),
        report_(at::zeros({static_cast<int64_t>(sizeof(cuda::Fp8Report))},
                          values.options().dtype(at::kByte))) {
    TORCH_CHECK(cuda::reset_report(report(), nullptr),
                "fp8_codec_cuda: no kernel could be started");
  }

  void encode() {
    TORCH_CHECK(cuda::quantise_fp8(layout_, values_.const_data_ptr<float>(), scales(), codes(),
                                   report(), nullptr),
                "fp8_codec_cuda: encoding could not be started");
  }
  void decode() {
    TORCH_CHECK(cuda::dequantise_fp8(layout_, codes(), scales(), decoded_.mutable_data_ptr<float>(),
                                     report(), nullptr),
                "fp8_codec_cuda: decoding could not be started");
  }

  // Throws c10::Error where a number differs from the scalar codec's.
  void check() {
    encode();
    decode();
    const std::vector<float> values = to_host<float>(values_, values_.numel());
    std::vector<uint8_t> codes(values.size());
    std::vector<float> scales(static_cast<size_t>(scales_.numel())), decoded(values.size());
    TORCH_CHECK(quantise_fp8(layout_, values, scales, codes).ok() &&
                    dequantise_fp8(layout_, codes, scales, decoded).ok(),
                "fp8_codec_cuda: the scalar codec refused the values");
    const auto same = [](const auto& device, const auto& host) {
      return std::memcmp(device.data(), host.data(), host.size() * sizeof host[0]) == 0;
    };
    TORCH_CHECK(same(to_host<uint8_t>(codes_, codes_.numel()), codes) &&
                    same(to_host<float>(scales_, scales_.numel()), scales) &&
                    same(to_host<float>(decoded_, decoded_.numel()), decoded),
                "fp8_codec_cuda: the kernels' numbers differ from the scalar codec's");
  }

 private:
  float* scales() { return scales_.mutable_data_ptr<float>(); }
  uint8_t* codes() { return codes_.mutable_data_ptr<uint8_t>(); }
  cuda::Fp8Report* report() { return static_cast<cuda::Fp8Report*>(report_.mutable_data_ptr()); }

  Fp8Layout layout_;
  at::Tensor values_, codes_, scales_, decoded_, report_;
};

void measure(const std::string& name, ScaleGranularity granularity, const at::Tensor& values,
             int rounds) {
  Codec(values.narrow(0, 0, std::min<int64_t>(4096, values.size(0))), granularity).check();
  Codec codec(values, granularity);
  const int64_t moved = 5 * values.numel();  // 4 bytes on one side and 1 on the other
  const at::Tensor source = at::empty({moved / 2}, values.options().dtype(at::kByte)).random_();
  at::Tensor target = at::empty_like(source), decoded = at::empty_like(values);
  at::Tensor float8 = at::empty_like(values, values.options().dtype(at::kFloat8_e4m3fn));
  Subject subjects[] = {{"copy", [&] { target.copy_(source); }},
                        {"encode", [&] { codec.encode(); }},
                        {"decode", [&] { codec.decode(); }},
                        {"torch encode", [&] { float8.copy_(values); }},
                        {"torch decode", [&] { decoded.copy_(float8); }},
                        {"copy again", [&] { target.copy_(source); }}};
  for (Subject& subject : subjects) subject.run();  // touches all memory, loads the kernels
  for (int round = 0; round < rounds; ++round) {
    for (Subject& subject : subjects) subject.seconds.push_back(seconds_of(subject.run));
  }

  std::cout << "\nscale a " << name << ", " << values.size(0) << " tokens of " << kHeads * kHeadDim
            << ", " << rounds << " rounds\n";
  print_codec(subjects, static_cast<double>(moved));
}

}  // namespace

int main(int argc, char** argv) {
  if (!at::hasCUDA()) {
    std::cerr << "fp8_codec_cuda: no CUDA device\n";
    return 1;
  }
  const int64_t tokens =
      (argc > 1 ? std::atoll(argv[1]) : 1024) * (1 << 20) / 4 / kHeads / kHeadDim;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 21;
  const at::Tensor values = at::randn({tokens, kHeads * kHeadDim}, at::device(at::kCUDA));
  std::cout << std::fixed << std::setprecision(2);
  measure("tensor", ScaleGranularity::kTensor, values, rounds);
  measure("head", ScaleGranularity::kHead, values, rounds);
  measure("token", ScaleGranularity::kToken, values, rounds);
  measure("channel", ScaleGranularity::kChannel, values, rounds);
  measure("block of 32", ScaleGranularity::kBlock32, values, rounds);
}
