// What config.json of a Hugging Face folder says of a Llama-family decoder. Strict: a field that
// would change the computation and is not understood here is an error, never a silent default.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kvalign/format/export.h"
#include "kvalign/format/geometry.h"

namespace kvalign {

/// Llama, Mistral, Qwen2 or Qwen3. The names are config.json's.
struct DecoderConfig {
  std::string model_type;  ///< llama, mistral, qwen2, qwen3
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;    ///< of the SwiGLU MLP
  int64_t num_attention_heads = 0;  ///< query heads; a multiple of the geometry's num_kv_heads
  double rms_norm_eps = 0;
  bool query_key_value_bias = false;  ///< Qwen2; Llama with attention_bias
  bool output_bias = false;           ///< of the attention's output map: Llama with attention_bias
  bool mlp_bias = false;              ///< Llama with mlp_bias
  bool query_key_norm = false;        ///< RMSNorm of each head's query and key before RoPE: Qwen3
  bool tie_word_embeddings = false;   ///< the head's weights are the embedding's
  KvGeometry geometry;                ///< its model is the folder's name
};

/// Reads `folder`/config.json. Throws std::runtime_error where the file is missing or no JSON, and
/// std::invalid_argument naming the field, its value and what is supported for everything else.
KVALIGN_API DecoderConfig read_decoder_config(const std::filesystem::path& folder);

/// The same of parsed JSON; `where` opens error texts, `model` names the geometry.
KVALIGN_API DecoderConfig decoder_config_from_json(const nlohmann::json& json,
                                                   const std::string& where,
                                                   const std::string& model);

}  // namespace kvalign
