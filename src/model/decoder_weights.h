// The weights of a decoder, as the files hold them. Matrices keep their dtype and, on the CPU, are
// views of the mapped files; vectors (norms, biases) are float32.
//
// Shapes: V vocabulary, E hidden size, I intermediate size, Q query heads, N kv heads, H head dim
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <filesystem>
#include <vector>

#include "kvalign/model/decoder_config.h"

namespace kvalign {

struct LinearWeights {
  at::Tensor weight, bias;  // [outputs, inputs]; float32 [outputs] or undefined
};

struct LayerWeights {
  at::Tensor input_norm_E, post_attention_norm_E;
  at::Tensor query_norm_H, key_norm_H;  // undefined without query_key_norm
  LinearWeights query, key, value;      // [Q H, E], [N H, E], [N H, E]
  LinearWeights output;                 // [E, Q H]
  LinearWeights gate, up, down;         // [I, E], [I, E], [E, I]
};

struct DecoderWeights {
  at::Tensor embedding_VE, final_norm_E;
  at::Tensor head_VE;  // the embedding where they are tied
  std::vector<LayerWeights> layers;
  int64_t num_parameters = 0;
};

// Errors: as Decoder::load.
DecoderWeights load_decoder_weights(const std::filesystem::path& folder,
                                    const DecoderConfig& config, c10::Device device);

}  // namespace kvalign
