// Reads config.json field by field, and refuses what is left over.
#include "kvalign/model/decoder_config.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>

#include "kvalign/core/files.h"
#include "kvalign/core/geometry_json.h"

namespace kvalign {
namespace {

using nlohmann::json;

const std::set<std::string> kModelTypes = {"llama", "mistral", "qwen2", "qwen3"};

// Fields that say nothing about the computation: training, storage, generation, provenance.
const std::set<std::string> kIgnored = {"architectures",
                                        "attention_dropout",
                                        "auto_map",
                                        "bos_token_id",
                                        "chunk_size_feed_forward",
                                        "dtype",
                                        "eos_token_id",
                                        "id2label",
                                        "initializer_range",
                                        "is_encoder_decoder",
                                        "is_llama_config",
                                        "label2id",
                                        "max_position_embeddings",
                                        "model_type",
                                        "name_or_path",
                                        "_name_or_path",
                                        "output_attentions",
                                        "output_hidden_states",
                                        "pad_token_id",
                                        "problem_type",
                                        "return_dict",
                                        "rope_interleaved",
                                        "torch_dtype",
                                        "transformers.js_config",
                                        "transformers_version",
                                        "unsloth_fixed",
                                        "use_cache"};

class ConfigReader {
 public:
  ConfigReader(const json& config, std::string where) : config_(config), where_(std::move(where)) {}

  [[noreturn]] void refuse(const std::string& field, const std::string& what) const {
    throw std::invalid_argument(where_ + ": " + field + ": " + what);
  }

  // nullptr where the field is absent or null. Counts it as understood.
  const json* find(const std::string& field) {
    known_.insert(field);
    const auto found = config_.find(field);
    return found == config_.end() || found->is_null() ? nullptr : &*found;
  }

  int64_t whole(const std::string& field, std::optional<int64_t> otherwise = {},
                int64_t minimum = 1) {
    const json* value = find(field);
    if (!value && otherwise) return *otherwise;
    if (!value) refuse(field, "missing; expected a whole number.");
    // The upper limit keeps products of two sizes in range.
    if (!value->is_number_integer() || value->get<int64_t>() < minimum ||
        value->get<int64_t>() > (int64_t{1} << 31)) {
      refuse(field, "expected a whole number of at least " + std::to_string(minimum) + ", got " +
                        value->dump() + ".");
    }
    return value->get<int64_t>();
  }

  bool flag(const std::string& field) {
    const json* value = find(field);
    if (!value) return false;
    if (!value->is_boolean()) refuse(field, "expected true or false, got " + value->dump() + ".");
    return value->get<bool>();
  }

  // The field may be there, but only with this value.
  void only(const std::string& field, const json& supported) {
    const json* value = find(field);
    if (value && *value != supported) {
      refuse(field, "expected " + supported.dump() + ", the only one supported, got " +
                        value->dump() + ".");
    }
  }

  void check_nothing_else() const {
    for (const auto& [field, value] : config_.items()) {
      if (!known_.count(field) && !kIgnored.count(field)) {
        refuse(field, "not supported; it may change what the model computes. Its value is " +
                          value.dump() + ". Remove it from config.json if it does not matter.");
      }
    }
  }

 private:
  const json& config_;
  std::string where_;
  std::set<std::string> known_;
};

double positive_number(const ConfigReader& reader, const std::string& field, const json* value) {
  if (!value || !value->is_number() || !std::isfinite(value->get<double>()) ||
      value->get<double>() <= 0) {
    reader.refuse(field, "expected a positive number, got " +
                             (value ? value->dump() : std::string("nothing")) + ".");
  }
  return value->get<double>();
}

RopeScaling read_scaling(const ConfigReader& reader, const std::string& section,
                         const json& scaling) {
  const auto name = [&](const char* field) { return section + "." + field; };
  const auto number = [&](const char* field) {
    return positive_number(reader, name(field),
                           scaling.contains(field) ? &scaling[field] : nullptr);
  };
  const char* key = scaling.contains("rope_type") ? "rope_type" : "type";
  if (scaling.contains(key) && !scaling[key].is_string()) {
    reader.refuse(name(key), "expected a word, got " + scaling[key].dump() + ".");
  }
  const std::string type = scaling.value(key, std::string("default"));
  std::set<std::string> known = {"rope_type", "type", "rope_theta"};
  RopeScaling result;
  if (type == "linear") {
    result = {.type = RopeScalingType::kLinear, .factor = number("factor")};
    known.insert("factor");
  } else if (type == "llama3") {
    result = {.type = RopeScalingType::kLlama3,
              .factor = number("factor"),
              .low_freq_factor = number("low_freq_factor"),
              .high_freq_factor = number("high_freq_factor"),
              .original_max_position_embeddings =
                  static_cast<int64_t>(number("original_max_position_embeddings"))};
    known.insert(
        {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"});
  } else if (type != "default") {
    reader.refuse(name(key), "expected default, linear or llama3, got \"" + type + "\".");
  }
  for (const auto& [field, value] : scaling.items()) {
    if (!known.count(field)) {
      reader.refuse(name(field.c_str()),
                    "not supported with " + type + "; its value is " + value.dump() + ".");
    }
  }
  return result;
}

// transformers 4 has rope_theta and rope_scaling, transformers 5 rope_parameters with both.
RopeOptions read_rope(ConfigReader& reader, int64_t head_dim) {
  const json* theta = reader.find("rope_theta");
  const json* old_scaling = reader.find("rope_scaling");
  const json* parameters = reader.find("rope_parameters");
  const std::string section = parameters ? "rope_parameters" : "rope_scaling";
  const json* scaling = parameters ? parameters : old_scaling;
  if (scaling && !scaling->is_object()) {
    reader.refuse(section, "expected an object, got " + scaling->dump() + ".");
  }
  if (scaling && scaling->contains("rope_theta")) theta = &(*scaling)["rope_theta"];
  RopeOptions rope;
  rope.theta = theta ? positive_number(reader, "rope_theta", theta) : 10000.0;
  rope.pairing = RopePairing::kHalf;
  rope.rotary_dim = head_dim;
  if (scaling) rope.scaling = read_scaling(reader, section, *scaling);
  return rope;
}

// As transformers' configurations: Mistral has a window in every layer; Qwen2 and Qwen3 from layer
// max_window_layers on, where use_sliding_window says so.
void read_window(ConfigReader& reader, DecoderConfig& config) {
  const std::string& type = config.model_type;
  const json* types = reader.find("layer_types");
  const json* window = nullptr;
  int64_t first_layer = 0;
  if (type == "mistral") {
    window = reader.find("sliding_window");
  } else if (type != "llama") {
    const bool used = reader.flag("use_sliding_window");
    first_layer = reader.whole("max_window_layers", 28, 0);
    window = reader.find("sliding_window");
    if (!used) window = nullptr;
  }
  KvGeometry& geometry = config.geometry;
  if (types && (!types->is_array() || static_cast<int64_t>(types->size()) != geometry.num_layers)) {
    reader.refuse("layer_types", "expected one word for each of " +
                                     std::to_string(geometry.num_layers) + " layers.");
  }
  for (int64_t layer = 0; layer < geometry.num_layers; ++layer) {
    const json word =
        types ? (*types)[static_cast<size_t>(layer)]
              : json(window && layer >= first_layer ? "sliding_attention" : "full_attention");
    if (word == "full_attention") continue;
    if (word != "sliding_attention") {
      reader.refuse("layer_types",
                    "expected full_attention or sliding_attention, got " + word.dump() + ".");
    }
    geometry.sliding_window_layers.push_back(layer);
  }
  if (geometry.sliding_window_layers.empty()) return;
  if (!window) reader.refuse("sliding_window", "missing, but layer_types names sliding layers.");
  geometry.sliding_window = reader.whole("sliding_window");
}

}  // namespace

DecoderConfig decoder_config_from_json(const json& json, const std::string& where,
                                       const std::string& model) {
  if (!json.is_object()) throw std::invalid_argument(where + ": expected a JSON object.");
  ConfigReader reader(json, where);
  DecoderConfig config;
  const auto* model_type = reader.find("model_type");
  if (!model_type || !model_type->is_string() || !kModelTypes.count(*model_type)) {
    reader.refuse("model_type", "expected \"llama\", \"mistral\", \"qwen2\" or \"qwen3\", got " +
                                    (model_type ? model_type->dump() : std::string("nothing")) +
                                    ". Other architectures are not supported.");
  }
  const std::string type = config.model_type = *model_type;
  config.vocab_size = reader.whole("vocab_size");
  config.hidden_size = reader.whole("hidden_size");
  config.intermediate_size = reader.whole("intermediate_size");
  config.num_attention_heads = reader.whole("num_attention_heads");
  config.rms_norm_eps = positive_number(reader, "rms_norm_eps", reader.find("rms_norm_eps"));
  config.tie_word_embeddings = reader.flag("tie_word_embeddings");
  config.query_key_norm = type == "qwen3";
  // Mistral has no such field; Qwen2's bias is fixed.
  const bool attention_bias =
      type == "llama" || type == "qwen3" ? reader.flag("attention_bias") : false;
  config.query_key_value_bias = type == "qwen2" || attention_bias;
  config.output_bias = attention_bias;
  if (type == "llama") config.mlp_bias = reader.flag("mlp_bias");
  reader.only("hidden_act", "silu");
  reader.only("pretraining_tp", 1);
  reader.only("partial_rotary_factor", 1.0);

  KvGeometry& geometry = config.geometry;
  geometry.model = model;
  geometry.num_layers = reader.whole("num_hidden_layers");
  geometry.num_kv_heads = type == "llama"  // the others have other defaults
                              ? reader.whole("num_key_value_heads", config.num_attention_heads)
                              : reader.whole("num_key_value_heads");
  const int64_t even_share = config.hidden_size / config.num_attention_heads;
  geometry.head_dim = reader.whole("head_dim", type == "qwen3" ? 128 : even_share);
  if (config.num_attention_heads % geometry.num_kv_heads != 0) {
    reader.refuse("num_key_value_heads", "expected a divisor of num_attention_heads " +
                                             std::to_string(config.num_attention_heads) + ", got " +
                                             std::to_string(geometry.num_kv_heads) + ".");
  }
  geometry.rope = read_rope(reader, geometry.head_dim);
  read_window(reader, config);
  reader.check_nothing_else();
  check_geometry(geometry, where);
  return config;
}

DecoderConfig read_decoder_config(const std::filesystem::path& folder) {
  const std::string path = (folder / "config.json").string();
  if (!std::filesystem::exists(path)) {
    throw std::runtime_error(path +
                             ": missing. Expected a Hugging Face folder with config.json "
                             "and model.safetensors.");
  }
  const json parsed = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) throw std::runtime_error(path + ": expected JSON.");
  const std::string model = std::filesystem::canonical(folder).filename().string();
  return decoder_config_from_json(parsed, path, model);
}

}  // namespace kvalign
