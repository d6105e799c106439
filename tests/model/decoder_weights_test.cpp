// Weight files that do not fit their config.json.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/safetensors.h"
#include "kvalign/model/decoder.h"
#include "tests/support/decoder_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

// Rewrites the weights of a copied folder with `edit`.
void edit_weights(const std::string& folder,
                  const std::function<void(std::map<std::string, at::Tensor>&)>& edit) {
  const std::string path = folder + "/model.safetensors";
  std::map<std::string, at::Tensor> tensors;
  {
    const SafetensorsFile file = SafetensorsFile::open(path);
    for (const auto& [name, info] : file.tensors()) tensors[name] = file.tensor(name).clone();
  }
  edit(tensors);
  std::vector<NamedTensor> named;
  for (const auto& [name, tensor] : tensors) named.push_back({name, tensor});
  write_safetensors(path, named);
}

TEST(DecoderWeights, ReadsSeveralFiles) {
  EXPECT_EQ(Decoder::load(golden_decoder("qwen3")).num_parameters(),
            2 * 64 * 32 + 32 + 3 * (2 * 32 * 64 + 2 * 32 * 32 + 3 * 32 * 48 + 2 * 32 + 2 * 16));
}

TEST(DecoderWeights, RefusesFilesThatDoNotFit) {
  const auto unchanged = [](nlohmann::json&) {};
  {
    const TemporaryFolder parent;
    const std::string folder = edited_decoder(
        parent, "llama", [](nlohmann::json& config) { config["num_hidden_layers"] = 4; });
    EXPECT_THROWS_WITH(Decoder::load(folder), "model.layers.3.input_layernorm.weight: missing");
  }
  {
    const TemporaryFolder parent;
    const std::string folder = edited_decoder(
        parent, "llama", [](nlohmann::json& config) { config["num_hidden_layers"] = 2; });
    EXPECT_THROWS_WITH(Decoder::load(folder), "unexpected tensor");
  }
  {
    const TemporaryFolder parent;
    const std::string folder = edited_decoder(
        parent, "llama", [](nlohmann::json& config) { config["intermediate_size"] = 40; });
    EXPECT_THROWS_WITH(Decoder::load(folder), "expected [40, 32] by config.json, got [48, 32]");
  }
  {
    const TemporaryFolder parent;
    const std::string folder = edited_decoder(parent, "llama", unchanged);
    edit_weights(folder, [](auto& tensors) {
      tensors["model.norm.weight"] = tensors["model.norm.weight"].to(at::kDouble);
    });
    EXPECT_THROWS_WITH(Decoder::load(folder), "model.norm.weight: expected F32, BF16 or F16");
  }
  {
    const TemporaryFolder parent;
    const std::string folder = edited_decoder(parent, "llama", unchanged);
    std::filesystem::remove(folder + "/model.safetensors");
    EXPECT_THROWS_WITH(Decoder::load(folder), "found neither");
  }
}

TEST(DecoderWeights, RefusesABrokenIndex) {
  const TemporaryFolder parent;
  const std::string folder = edited_decoder(parent, "qwen3", [](nlohmann::json&) {});
  const std::string index = folder + "/model.safetensors.index.json";
  std::ofstream(index) << "[]";
  EXPECT_THROWS_WITH(Decoder::load(folder), "expected a JSON object with a weight_map");
  std::ofstream(index) << R"({"weight_map": {"model.norm.weight": "../model.safetensors"}})";
  EXPECT_THROWS_WITH(Decoder::load(folder), "the name of a file in this folder");
  std::ofstream(index)
      << R"({"weight_map": {"model.norm.weight": "model-00001-of-00003.safetensors",
    "a": "model-00003-of-00003.safetensors"}})";
  EXPECT_THROWS_WITH(Decoder::load(folder), "missing weight");
}

TEST(DecoderWeights, IgnoresTheHeadThatATiedModelCarries) {
  const TemporaryFolder parent;
  const std::string folder = edited_decoder(parent, "llama", [](nlohmann::json&) {});
  edit_weights(folder, [](auto& tensors) {
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1;
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = at::ones({4});
  });
  const at::Tensor token_ids = at::arange(5, at::kInt).unsqueeze(0);
  const at::Tensor expected =
      Decoder::load(golden_decoder("llama")).forward({.token_ids_BT = token_ids}).logits_BTV;
  EXPECT_TRUE(
      at::equal(Decoder::load(folder).forward({.token_ids_BT = token_ids}).logits_BTV, expected));
}

}  // namespace
}  // namespace kvalign
