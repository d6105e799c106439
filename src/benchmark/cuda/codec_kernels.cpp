// The FP8 kernels on tensors of the device. See codec_buffers.h.
#include <ATen/ATen.h>

#include "kvalign/ops/fp8_codec_cuda.h"
#include "src/benchmark/codec_buffers.h"

namespace kvalign::benchmark {
namespace {

cuda::Fp8Report* report_of(const CodecBuffers& buffers) {
  return static_cast<cuda::Fp8Report*>(buffers.report.data_ptr());
}

}  // namespace

bool has_codec_kernels() {
  return true;
}

at::Tensor new_codec_report(at::Device device) {
  const at::Tensor report = at::zeros({static_cast<int64_t>(sizeof(cuda::Fp8Report))},
                                      at::device(device).dtype(at::kByte));
  TORCH_CHECK(cuda::reset_report(static_cast<cuda::Fp8Report*>(report.data_ptr()), nullptr),
              "codec: no kernel could be started");
  return report;
}

void encode_on_cuda(const CodecBuffers& buffers) {
  TORCH_CHECK(cuda::quantise_fp8(buffers.layout, buffers.values_TD.const_data_ptr<float>(),
                                 static_cast<float*>(buffers.scales.data_ptr()),
                                 static_cast<uint8_t*>(buffers.codes_TD.data_ptr()),
                                 report_of(buffers), nullptr),
              "codec: encoding could not be started");
}

void decode_on_cuda(const CodecBuffers& buffers) {
  TORCH_CHECK(cuda::dequantise_fp8(buffers.layout, buffers.codes_TD.const_data_ptr<uint8_t>(),
                                   buffers.scales.const_data_ptr<float>(),
                                   static_cast<float*>(buffers.decoded_TD.data_ptr()),
                                   report_of(buffers), nullptr),
              "codec: decoding could not be started");
}

}  // namespace kvalign::benchmark
