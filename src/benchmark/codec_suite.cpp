// Suite codec: FP8 (E4M3FN) beside a copy that moves as many bytes, and beside LibTorch's casts to
// float8_e4m3fn and back, which do less: no scales, no checks.
#include <ATen/ATen.h>

#include <utility>

#include "codec_buffers.h"
#include "copy_bytes.h"
#include "kvalign/core/random.h"
#include "kvalign/format/fp8_quantise.h"
#include "kvalign/ops/fp8_codec.h"
#include "projector_case.h"
#include "suites.h"

namespace kvalign::benchmark {
namespace {

using Tensors = std::vector<at::Tensor>;

constexpr size_t kHeads = 8, kHeadDim = 128;
constexpr double kCastError = 0.05;  // of E4M3's 3 bits: at most 2^-4 of a number that is not small

CodecBuffers random_buffers(ScaleGranularity granularity, int64_t tokens, at::Device device,
                            uint64_t seed) {
  const Fp8Layout layout = {static_cast<size_t>(tokens), kHeads, kHeadDim, granularity,
                            Fp8Format::kE4M3FN};
  const at::Tensor values =
      random_tensor({tokens, static_cast<int64_t>(kHeads * kHeadDim)}, at::kFloat, device, seed);
  return {.layout = layout,
          .values_TD = values,
          .codes_TD = at::zeros_like(values, values.options().dtype(at::kByte)),
          .scales = at::zeros({static_cast<int64_t>(num_fp8_scales(layout))}, values.options()),
          .decoded_TD = at::zeros_like(values),
          .report = device.is_cpu() ? at::Tensor() : new_codec_report(device)};
}

void encode(const CodecBuffers& buffers) {
  buffers.values_TD.is_cpu() ? encode_on_cpu(buffers) : encode_on_cuda(buffers);
}

void decode(const CodecBuffers& buffers) {
  buffers.values_TD.is_cpu() ? decode_on_cpu(buffers) : decode_on_cuda(buffers);
}

template <class Type>
std::span<Type> elements_of(const at::Tensor& tensor) {
  return {static_cast<Type*>(tensor.data_ptr()), static_cast<size_t>(tensor.numel())};
}

// What the scalar codec makes of the same numbers; the others have its very bits.
CodecBuffers by_scalar_codec(const CodecBuffers& buffers) {
  CodecBuffers result = {.layout = buffers.layout,
                         .values_TD = buffers.values_TD.cpu(),
                         .codes_TD = at::zeros_like(buffers.codes_TD, at::kCPU),
                         .scales = at::zeros_like(buffers.scales, at::kCPU),
                         .decoded_TD = at::zeros_like(buffers.decoded_TD, at::kCPU)};
  const bool ok =
      quantise_fp8(result.layout, elements_of<const float>(result.values_TD),
                   elements_of<float>(result.scales), elements_of<uint8_t>(result.codes_TD))
          .ok() &&
      dequantise_fp8(result.layout, elements_of<const uint8_t>(result.codes_TD),
                     elements_of<const float>(result.scales), elements_of<float>(result.decoded_TD))
          .ok();
  TORCH_CHECK(ok, "codec: the scalar codec refused the values");
  return result;
}

// Half of the bytes are read, half are written.
Subject copy_of(int64_t bytes, at::Device device, uint64_t seed) {
  const at::Tensor from =
      random_tensor({bytes / 8}, at::kFloat, device, derive_seed(seed, 3)).view(at::kByte);
  const at::Tensor to = at::zeros_like(from);
  return {.name = "copy",
          .run =
              [=] {
                copy_bytes(from, to);
                return Tensors{to};
              },
          .reference = [=] { return Tensors{from}; },
          .is_baseline = true,
          .error_limit = 0};
}

Subject cast_of(const at::Tensor& from, const at::Tensor& to, double error_limit) {
  return {.name = "cast",
          .run =
              [=] {
                to.copy_(from);
                return Tensors{to};
              },
          .reference = [=] { return Tensors{from.to(at::kDouble)}; },
          .is_baseline = true,
          .error_limit = error_limit};
}

std::string detail_of(at::Device device) {
  return device.is_cpu() ? fast::instruction_set() : "";
}

std::vector<Subject> encode_subjects(const CodecBuffers& buffers, int64_t bytes, uint64_t seed) {
  const at::Device device = buffers.values_TD.device();
  const auto float8 = buffers.values_TD.options().dtype(at::kFloat8_e4m3fn);
  Subject ours = {.name = "ours",
                  .run =
                      [=] {
                        encode(buffers);
                        return Tensors{buffers.codes_TD, buffers.scales};
                      },
                  .reference =
                      [=] {
                        const CodecBuffers scalar = by_scalar_codec(buffers);
                        return Tensors{scalar.codes_TD, scalar.scales};
                      },
                  .detail = detail_of(device),
                  .error_limit = 0};
  return {std::move(ours), copy_of(bytes, device, seed),
          cast_of(buffers.values_TD, at::zeros_like(buffers.values_TD, float8), kCastError)};
}

std::vector<Subject> decode_subjects(const CodecBuffers& buffers, int64_t bytes, uint64_t seed) {
  const at::Device device = buffers.values_TD.device();
  encode(buffers);
  Subject ours = {.name = "ours",
                  .run =
                      [=] {
                        decode(buffers);
                        return Tensors{buffers.decoded_TD};
                      },
                  .reference = [=] { return Tensors{by_scalar_codec(buffers).decoded_TD}; },
                  .detail = detail_of(device),
                  .error_limit = 0};
  return {std::move(ours), copy_of(bytes, device, seed),
          cast_of(buffers.codes_TD.view(at::kFloat8_e4m3fn), at::zeros_like(buffers.values_TD), 0)};
}

struct Granularity {
  const char* name;
  ScaleGranularity granularity;
};

}  // namespace

std::vector<Case> codec_cases(const SuiteSetup& setup) {
  const at::Device device = setup.device;
  std::vector<Granularity> granularities = {{"token", ScaleGranularity::kToken},
                                            {"block of 32", ScaleGranularity::kBlock32}};
  if (!device.is_cpu()) {
    if (!has_codec_kernels()) {
      setup.on_skipped("codec: this build has no CUDA kernels");
      return {};
    }
    granularities.insert(granularities.end(), {{"tensor", ScaleGranularity::kTensor},
                                               {"head", ScaleGranularity::kHead},
                                               {"channel", ScaleGranularity::kChannel}});
  }
  const int64_t tokens = device.is_cpu() ? 16'384 : 65'536;
  const int64_t bytes = 5 * tokens * static_cast<int64_t>(kHeads * kHeadDim);  // 4 and 1 a number
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, ScaleGranularity granularity, auto make) {
    cases.push_back({.suite = "codec",
                     .name = name,
                     .dtype = at::kFloat,
                     .bytes = static_cast<double>(bytes),
                     .make = [=](uint64_t seed) {
                       return make(random_buffers(granularity, tokens, device, seed), bytes, seed);
                     }});
  };
  for (const auto& [name, granularity] : granularities) {
    const std::string scale = std::string(", scale a ") + name;
    add("encode" + scale, granularity, encode_subjects);
    add("decode" + scale, granularity, decode_subjects);
  }
  return cases;
}

}  // namespace kvalign::benchmark
