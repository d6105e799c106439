// Finds each weight by its Hugging Face name, in one file or several, and checks its shape.
#include "decoder_weights.h"

#include <ATen/ATen.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "kvalign/core/files.h"
#include "kvalign/core/safetensors.h"

namespace kvalign {
namespace {

using Files = std::map<std::string, SafetensorsFile>;  // by path

// model.safetensors, or the files that its index names.
Files open_files(const std::filesystem::path& folder) {
  const std::filesystem::path single = folder / "model.safetensors";
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  Files files;
  if (std::filesystem::exists(single)) {
    files.emplace(single.string(), SafetensorsFile::open(single.string()));
    return files;
  }
  TORCH_CHECK(std::filesystem::exists(index), folder.string(),
              ": expected model.safetensors or model.safetensors.index.json, found neither. Files "
              "of other formats (pytorch_model.bin) are not read.");
  const auto json = nlohmann::json::parse(read_file(index.string()), nullptr, false);
  TORCH_CHECK(json.is_object() && json.contains("weight_map") && json["weight_map"].is_object(),
              index.string(), ": expected a JSON object with a weight_map.");
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    TORCH_CHECK(file.is_string() && std::filesystem::path(file.get<std::string>()).filename() ==
                                        file.get<std::string>(),
                index.string(), ": weight_map.", tensor,
                ": expected the name of a file in this "
                "folder, got ",
                file.dump(), ".");
    const std::string path = (folder / file.get<std::string>()).string();
    if (!files.count(path)) files.emplace(path, SafetensorsFile::open(path));
  }
  return files;
}

class WeightReader {
 public:
  WeightReader(const std::filesystem::path& folder, c10::Device device)
      : folder_(folder), device_(device), files_(open_files(folder)) {
    for (const auto& [path, file] : files_) {
      for (const auto& [name, info] : file.tensors()) {
        TORCH_CHECK(file_of_.emplace(name, &file).second, path, ": ", name,
                    ": found in another file of this folder as well.");
      }
    }
  }

  at::Tensor matrix(const std::string& name, int64_t rows, int64_t columns) {
    return read(name, {rows, columns}).to(device_);
  }

  at::Tensor vector(const std::string& name, int64_t size) {
    return read(name, {size}).to(device_, at::kFloat);
  }

  LinearWeights linear(const std::string& name, int64_t outputs, int64_t inputs, bool has_bias) {
    LinearWeights weights{matrix(name + ".weight", outputs, inputs), {}};
    if (has_bias) weights.bias = vector(name + ".bias", outputs);
    return weights;
  }

  int64_t num_parameters() const { return num_parameters_; }

  // A tensor that nobody asked for would be left out of the computation without a word.
  void check_nothing_else(bool tied_head) {
    if (tied_head) read_.insert("lm_head.weight");
    for (const auto& [name, file] : file_of_) {
      const bool is_table = name.ends_with("rotary_emb.inv_freq");
      TORCH_CHECK(is_table || read_.count(name), file->path(), ": ", name,
                  ": unexpected tensor; config.json describes a model without it.");
    }
  }

 private:
  at::Tensor read(const std::string& name, const std::vector<int64_t>& shape) {
    const auto found = file_of_.find(name);
    TORCH_CHECK(found != file_of_.end(), folder_.string(), ": ", name,
                ": missing weight; expected ", at::IntArrayRef(shape), " by config.json.");
    const SafetensorsFile& file = *found->second;
    const TensorInfo& info = file.info(name);
    TORCH_CHECK(info.shape == shape, file.path(), ": ", name, ": expected ", at::IntArrayRef(shape),
                " by config.json, got ", at::IntArrayRef(info.shape), ".");
    TORCH_CHECK(info.dtype == at::kFloat || info.dtype == at::kBFloat16 || info.dtype == at::kHalf,
                file.path(), ": ", name, ": expected F32, BF16 or F16, got ",
                safetensors_dtype_name(info.dtype), ". Quantised weights are not read.");
    read_.insert(name);
    const at::Tensor tensor = file.tensor(name);
    num_parameters_ += tensor.numel();
    return tensor;
  }

  std::filesystem::path folder_;
  c10::Device device_;
  Files files_;
  std::map<std::string, const SafetensorsFile*> file_of_;
  std::set<std::string> read_;
  int64_t num_parameters_ = 0;
};

LayerWeights read_layer(WeightReader& reader, const DecoderConfig& config, int64_t layer) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const int64_t head_dim = config.geometry.head_dim;
  const int64_t query_width = config.num_attention_heads * head_dim;
  const int64_t width = config.geometry.width();
  LayerWeights weights;
  weights.input_norm_E = reader.vector(prefix + "input_layernorm.weight", hidden);
  weights.post_attention_norm_E = reader.vector(prefix + "post_attention_layernorm.weight", hidden);
  if (config.query_key_norm) {
    weights.query_norm_H = reader.vector(attention + "q_norm.weight", head_dim);
    weights.key_norm_H = reader.vector(attention + "k_norm.weight", head_dim);
  }
  const bool bias = config.query_key_value_bias;
  weights.query = reader.linear(attention + "q_proj", query_width, hidden, bias);
  weights.key = reader.linear(attention + "k_proj", width, hidden, bias);
  weights.value = reader.linear(attention + "v_proj", width, hidden, bias);
  weights.output = reader.linear(attention + "o_proj", hidden, query_width, config.output_bias);
  weights.gate = reader.linear(mlp + "gate_proj", inner, hidden, config.mlp_bias);
  weights.up = reader.linear(mlp + "up_proj", inner, hidden, config.mlp_bias);
  weights.down = reader.linear(mlp + "down_proj", hidden, inner, config.mlp_bias);
  return weights;
}

}  // namespace

DecoderWeights load_decoder_weights(const std::filesystem::path& folder,
                                    const DecoderConfig& config, c10::Device device) {
  WeightReader reader(folder, device);
  DecoderWeights weights;
  weights.embedding_VE =
      reader.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size);
  weights.final_norm_E = reader.vector("model.norm.weight", config.hidden_size);
  for (int64_t layer = 0; layer < config.geometry.num_layers; ++layer) {
    weights.layers.push_back(read_layer(reader, config, layer));
  }
  weights.head_VE = config.tie_word_embeddings
                        ? weights.embedding_VE
                        : reader.matrix("lm_head.weight", config.vocab_size, config.hidden_size);
  reader.check_nothing_else(config.tie_word_embeddings);
  weights.num_parameters = reader.num_parameters();
  return weights;
}

}  // namespace kvalign
