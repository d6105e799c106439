// Counts of a decoder's pass. See cost.h; those of a projector are in projector_cost.cpp.
#include "kvalign/evaluate/cost.h"

#include <algorithm>
#include <stdexcept>

namespace kvalign {
namespace {

// Weights of one layer, by the product that uses them.
struct LayerWeights {
  double query_key_value = 0, output = 0, mlp = 0;
  double biases_and_norms = 0;

  double all() const { return query_key_value + output + mlp + biases_and_norms; }
};

LayerWeights layer_weights(const DecoderConfig& config) {
  const auto hidden = static_cast<double>(config.hidden_size);
  const auto inner = static_cast<double>(config.intermediate_size);
  const auto head_dim = static_cast<double>(config.geometry.head_dim);
  const double query = static_cast<double>(config.num_attention_heads) * head_dim;
  const double projected = query + 2 * static_cast<double>(config.geometry.width());
  LayerWeights weights{.query_key_value = hidden * projected,
                       .output = query * hidden,
                       .mlp = 3 * hidden * inner,
                       .biases_and_norms = 2 * hidden};
  if (config.query_key_value_bias) weights.biases_and_norms += projected;
  if (config.output_bias) weights.biases_and_norms += hidden;
  if (config.mlp_bias) weights.biases_and_norms += 2 * inner + hidden;
  if (config.query_key_norm) weights.biases_and_norms += 2 * head_dim;
  return weights;
}

double embedding(const DecoderConfig& config) {
  return static_cast<double>(config.vocab_size) * static_cast<double>(config.hidden_size);
}

// Calls visit(window) for each layer; 0: none.
template <class Visit>
void for_each_layer(const KvGeometry& geometry, const Visit& visit) {
  const auto& windowed = geometry.sliding_window_layers;
  for (int64_t layer = 0; layer < geometry.num_layers; ++layer) {
    const bool has_window = std::binary_search(windowed.begin(), windowed.end(), layer);
    visit(has_window ? geometry.sliding_window : int64_t{0});
  }
}

// Pairs of a token and a key that it sees, itself included.
double causal_pairs(const DecoderPass& pass, int64_t window) {
  const int64_t growing =
      window == 0 ? pass.tokens : std::clamp<int64_t>(window - pass.cached, 0, pass.tokens);
  const auto count = static_cast<double>(growing);
  return count * static_cast<double>(pass.cached) + count * (count + 1) / 2 +
         static_cast<double>(pass.tokens - growing) * static_cast<double>(window);
}

void check(const DecoderPass& pass) {
  if (pass.cached >= 0 && pass.tokens > 0 && pass.logits >= 0 && pass.logits <= pass.tokens) return;
  throw std::invalid_argument(
      "decoder_work: expected at least one token, a cache of no fewer than 0 and at most as many "
      "logits as tokens, got tokens " +
      std::to_string(pass.tokens) + ", cached " + std::to_string(pass.cached) + ", logits " +
      std::to_string(pass.logits));
}

// Tokens of the cache that a layer reads.
double read_tokens(const DecoderPass& pass, int64_t window) {
  return static_cast<double>(window == 0 ? pass.cached : std::min(pass.cached, window - 1));
}

}  // namespace

double element_bytes(const std::string& dtype) {
  if (dtype == "float32") return 4;
  if (dtype == "float16" || dtype == "bfloat16") return 2;
  if (dtype == "float8") return 1;
  throw std::invalid_argument(
      "element_bytes: expected float32, float16, bfloat16 or float8, got '" + dtype + "'");
}

int64_t num_parameters(const DecoderConfig& config) {
  const double layers =
      static_cast<double>(config.geometry.num_layers) * layer_weights(config).all();
  const double vocabularies = (config.tie_word_embeddings ? 1 : 2) * embedding(config);
  return static_cast<int64_t>(layers + vocabularies + static_cast<double>(config.hidden_size));
}

std::vector<MatmulFlops> decoder_matmuls(const DecoderConfig& config, const DecoderPass& pass) {
  check(pass);
  const LayerWeights layer = layer_weights(config);
  const double token_layers =
      static_cast<double>(pass.tokens) * static_cast<double>(config.geometry.num_layers);
  double pairs = 0;
  for_each_layer(config.geometry, [&](int64_t window) { pairs += causal_pairs(pass, window); });
  const double query = static_cast<double>(config.num_attention_heads * config.geometry.head_dim);
  return {{"query_key_value", 2 * token_layers * layer.query_key_value},
          {"scores", 2 * pairs * query},
          {"weighted_sum", 2 * pairs * query},
          {"output", 2 * token_layers * layer.output},
          {"mlp", 2 * token_layers * layer.mlp},
          {"head", 2 * static_cast<double>(pass.logits) * embedding(config)}};
}

Work decoder_work(const DecoderConfig& config, const DecoderPass& pass, const std::string& dtype,
                  const std::string& step) {
  Work work{.step = step};
  for (const MatmulFlops& matmul : decoder_matmuls(config, pass)) work.flops += matmul.flops;
  const auto hidden = static_cast<double>(config.hidden_size);
  work.parameters = static_cast<double>(config.geometry.num_layers) * layer_weights(config).all();
  if (pass.logits > 0) work.parameters += embedding(config) + hidden;
  double cached_tokens = 0;
  for_each_layer(config.geometry, [&](int64_t window) {
    cached_tokens += read_tokens(pass, window) + static_cast<double>(pass.tokens);
  });
  const double cached = 2 * static_cast<double>(config.geometry.width()) * cached_tokens;
  const double embedded = static_cast<double>(pass.tokens) * hidden;
  const double scored = static_cast<double>(pass.logits) * static_cast<double>(config.vocab_size);
  work.weight_bytes = work.parameters * element_bytes(dtype);
  work.activation_bytes = (cached + embedded + scored) * element_bytes(dtype);
  return work;
}

int64_t cache_elements(const KvGeometry& geometry) {
  return 2 * geometry.num_layers * geometry.width();
}

Work conversion_work(double numbers, double element_bytes, double wire_bytes,
                     const std::string& step) {
  return {.step = step, .activation_bytes = numbers * element_bytes + wire_bytes};
}

}  // namespace kvalign
