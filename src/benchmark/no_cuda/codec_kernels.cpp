// A build without a CUDA toolkit has no kernels. See codec_buffers.h.
#include <c10/util/Exception.h>

#include "src/benchmark/codec_buffers.h"

namespace kvalign::benchmark {

bool has_codec_kernels() {
  return false;
}

at::Tensor new_codec_report(at::Device) {
  return {};
}

void encode_on_cuda(const CodecBuffers&) {
  TORCH_CHECK(false, "codec: this build has no CUDA kernels");
}

void decode_on_cuda(const CodecBuffers&) {
  TORCH_CHECK(false, "codec: this build has no CUDA kernels");
}

}  // namespace kvalign::benchmark
