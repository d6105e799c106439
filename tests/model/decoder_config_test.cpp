// config.json: what is read, and that nothing is silently passed over.
#include "kvalign/model/decoder_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/decoder_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using nlohmann::json;

json qwen2() {
  return json::parse(R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
    "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
    "num_attention_heads": 14, "num_key_value_heads": 2, "hidden_act": "silu",
    "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": true,
    "vocab_size": 151936, "torch_dtype": "bfloat16", "use_sliding_window": false,
    "sliding_window": 32768, "max_window_layers": 21})");
}

DecoderConfig read(const json& config) {
  return decoder_config_from_json(config, "m/config.json", "m");
}

TEST(DecoderConfig, ReadsQwen2) {
  const DecoderConfig config = read(qwen2());
  EXPECT_EQ(config.geometry.num_layers, 24);
  EXPECT_EQ(config.geometry.num_kv_heads, 2);
  EXPECT_EQ(config.geometry.head_dim, 64);
  EXPECT_EQ(config.geometry.model, "m");
  EXPECT_EQ(config.geometry.rope->theta, 1e6);
  EXPECT_EQ(config.geometry.rope->rotary_dim, 64);
  EXPECT_EQ(config.geometry.sliding_window, 0);  // use_sliding_window is false
  EXPECT_TRUE(config.query_key_value_bias);
  EXPECT_FALSE(config.output_bias);
  EXPECT_TRUE(config.tie_word_embeddings);
}

TEST(DecoderConfig, ReadsWindows) {
  json config = qwen2();
  config["use_sliding_window"] = true;
  EXPECT_EQ(read(config).geometry.sliding_window_layers, (std::vector<int64_t>{21, 22, 23}));
  EXPECT_EQ(read(config).geometry.sliding_window, 32768);
  EXPECT_EQ(read_decoder_config(golden_decoder("mistral")).geometry.sliding_window_layers,
            (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(read_decoder_config(golden_decoder("qwen2")).geometry.sliding_window_layers,
            (std::vector<int64_t>{2, 3}));
}

TEST(DecoderConfig, ReadsBothFormsOfRope) {
  json config = qwen2();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  EXPECT_EQ(read(config).geometry.rope->scaling.type, RopeScalingType::kLinear);
  config.erase("rope_scaling");
  config.erase("rope_theta");
  EXPECT_EQ(read(config).geometry.rope->theta, 10000.0);
  config["rope_parameters"] = {
      {"rope_type", "llama3"},   {"rope_theta", 5e5},
      {"factor", 8.0},           {"low_freq_factor", 1.0},
      {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 8192}};
  const RopeOptions rope = *read(config).geometry.rope;
  EXPECT_EQ(rope.theta, 5e5);
  EXPECT_EQ(rope.scaling.type, RopeScalingType::kLlama3);
  EXPECT_EQ(rope.scaling.original_max_position_embeddings, 8192);
}

TEST(DecoderConfig, RefusesWhatItDoesNotKnow) {
  struct Case {
    const char* field;
    json value;  // null: the field is removed
    const char* text;
  };
  const Case cases[] = {
      {"model_type", "gemma2", "expected \"llama\", \"mistral\", \"qwen2\" or \"qwen3\""},
      {"model_type", 3, "got 3"},
      {"model_type", nullptr, "got nothing"},
      {"attn_logit_softcapping", 50.0, "attn_logit_softcapping: not supported"},
      {"hidden_act", "gelu", "hidden_act: expected \"silu\""},
      {"partial_rotary_factor", 0.5, "partial_rotary_factor"},
      {"hidden_size", nullptr, "hidden_size: missing"},
      {"hidden_size", -1, "at least 1, got -1"},
      {"hidden_size", "896", "got \"896\""},
      {"num_key_value_heads", 3, "expected a divisor of num_attention_heads 14, got 3"},
      {"num_key_value_heads", nullptr, "num_key_value_heads: missing"},
      {"rms_norm_eps", 0, "rms_norm_eps: expected a positive number"},
      {"tie_word_embeddings", 1, "expected true or false, got 1"},
      {"rope_theta", "big", "rope_theta"},
      {"rope_scaling", "linear", "rope_scaling: expected an object"},
      {"rope_scaling", json{{"type", "yarn"}, {"factor", 4}}, "got \"yarn\""},
      {"rope_scaling", json{{"type", "linear"}}, "rope_scaling.factor"},
      {"rope_scaling", json{{"type", 1}}, "rope_scaling.type: expected a word"},
      {"rope_scaling", json{{"type", "linear"}, {"factor", 2}, {"mscale", 1}}, "mscale"},
      {"layer_types", json{"full_attention"}, "one word for each of 24 layers"},
      {"layer_types", json(std::vector<std::string>(24, "chunked_attention")), "chunked_attention"},
      {"layer_types", json(std::vector<std::string>(24, "sliding_attention")),
       "sliding_window: missing"},
  };
  for (const Case& c : cases) {
    json config = qwen2();
    config[c.field] = c.value;
    if (c.value.is_null()) config.erase(c.field);
    EXPECT_THROWS_WITH(read(config), c.text);
    EXPECT_THROWS_WITH(read(config), "m/config.json: ");
  }
  EXPECT_THROWS_WITH(read(json::array()), "expected a JSON object");
}

TEST(DecoderConfig, NamesAMissingOrBrokenFile) {
  const TemporaryFolder folder;
  EXPECT_THROWS_WITH(read_decoder_config(folder.path()), "config.json: missing");
  std::ofstream(folder.file("config.json")) << "{";
  EXPECT_THROWS_WITH(read_decoder_config(folder.path()), "expected JSON");
}

}  // namespace
}  // namespace kvalign
