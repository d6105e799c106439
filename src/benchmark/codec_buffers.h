// What the FP8 codec is measured on, and the two devices' ways to run it. Private to benchmark/.
//
// Shapes:  T tokens   D = 8 kv heads * 128: Llama's and Qwen3's cache of a token and layer
#pragma once

#include <ATen/core/Tensor.h>

#include "kvalign/format/fp8_layout.h"

namespace kvalign::benchmark {

struct CodecBuffers {
  Fp8Layout layout;
  at::Tensor values_TD;   ///< float32
  at::Tensor codes_TD;    ///< uint8
  at::Tensor scales;      ///< float32, as many as the layout has
  at::Tensor decoded_TD;  ///< float32
  at::Tensor report =
      {};  ///< which the kernels add to; nobody reads it, for their numbers are compared
};

// Scales of tokens and of blocks alone, whose tokens several threads share. Throw c10::Error for a
// conversion that failed.
void encode_on_cpu(const CodecBuffers& buffers);
void decode_on_cpu(const CodecBuffers& buffers);

// In builds with a CUDA toolkit; others throw c10::Error. They only start kernels on the default
// stream; throw c10::Error where one could not be started.
bool has_codec_kernels();
at::Tensor new_codec_report(at::Device device);
void encode_on_cuda(const CodecBuffers& buffers);
void decode_on_cuda(const CodecBuffers& buffers);

}  // namespace kvalign::benchmark
