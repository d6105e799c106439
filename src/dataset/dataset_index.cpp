// Strict reading and writing of index.json.
#include "kvalign/dataset/dataset_index.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvalign/core/files.h"
#include "kvalign/core/geometry_json.h"
#include "shard_entry_json.h"
#include "strict_json.h"

namespace kvalign {
namespace {

constexpr int64_t kSchema = 1;

DatasetLayout layout_from(const std::string& name, const std::string& where) {
  if (name == "layers") return DatasetLayout::kLayers;
  if (name == "flat") return DatasetLayout::kFlat;
  refuse(where, "expected \"layers\" or \"flat\", got \"" + name + "\"");
}

DatasetSide side_from_json(const nlohmann::json& json, const std::string& where) {
  const StrictObject object(json, where, {"geometry", "revision", "tokenizer_sha256"});
  DatasetSide side;
  side.geometry = geometry_from_json(object.at("geometry"), object.path("geometry"));
  side.revision = object.string("revision");
  side.tokenizer_sha256 = object.string("tokenizer_sha256");
  return side;
}

void check_flat_side(const DatasetSide& side, const std::string& where) {
  const KvGeometry& geometry = side.geometry;
  if (geometry.num_layers != 1 || geometry.num_kv_heads != 1 || geometry.rope) {
    refuse(where, "a flat dataset expects 1 layer, 1 kv head and rope null, got " +
                      std::to_string(geometry.num_layers) + " layers, " +
                      std::to_string(geometry.num_kv_heads) + " kv heads and rope " +
                      (geometry.rope ? "given" : "null"));
  }
}

void check_sum(const std::string& where, const std::string& key, int64_t total,
               const std::vector<ShardEntry>& shards, int64_t ShardEntry::*member) {
  int64_t sum = 0;
  for (const ShardEntry& shard : shards) sum += shard.*member;
  if (sum != total) {
    refuse(where, key + " is " + std::to_string(total) + ", but the " +
                      std::to_string(shards.size()) + " shards have " + std::to_string(sum) +
                      " together. Was a shard left out?");
  }
}

nlohmann::json side_to_json(const DatasetSide& side) {
  return {{"geometry", to_json(side.geometry)},
          {"revision", side.revision},
          {"tokenizer_sha256", side.tokenizer_sha256}};
}

}  // namespace

ShardEntry shard_from_json(const nlohmann::json& json, const std::string& where) {
  const StrictObject object(json, where, {"file", "sha256", "num_sequences", "num_tokens"});
  ShardEntry shard;
  shard.file = object.string("file");
  const std::filesystem::path path(shard.file);
  if (path.filename() != path || !shard.file.ends_with(".safetensors")) {
    refuse(
        object.path("file"),
        "expected the name of a .safetensors file in the same folder, got \"" + shard.file + "\"");
  }
  shard.sha256 = object.sha256("sha256");
  shard.num_sequences = object.count("num_sequences", 1);
  shard.num_tokens = object.count("num_tokens", 1);
  return shard;
}

nlohmann::json to_json(const ShardEntry& shard) {
  return {{"file", shard.file},
          {"sha256", shard.sha256},
          {"num_sequences", shard.num_sequences},
          {"num_tokens", shard.num_tokens}};
}

DatasetIndex index_from_json(const nlohmann::json& json, const std::string& where) {
  check_schema(json, where, kSchema, "an index");
  const StrictObject object(json, where,
                            {"schema", "layout", "created_by", "sender", "receiver", "num_sinks",
                             "num_sequences", "num_tokens", "shards"},
                            {"documents", "source"});
  DatasetIndex index;
  index.layout = layout_from(object.string("layout"), object.path("layout"));
  index.created_by = object.string("created_by");
  index.sender = side_from_json(object.at("sender"), object.path("sender"));
  index.receiver = side_from_json(object.at("receiver"), object.path("receiver"));
  index.num_sinks = object.count("num_sinks", 0);
  index.num_sequences = object.count("num_sequences", 1);
  index.num_tokens = object.count("num_tokens", 1);
  if (index.layout == DatasetLayout::kFlat) {
    check_flat_side(index.sender, object.path("sender.geometry"));
    check_flat_side(index.receiver, object.path("receiver.geometry"));
    if (index.num_sinks != 0)
      refuse(object.path("num_sinks"), "a flat dataset has none, expected 0");
  }
  const nlohmann::json& shards = object.at("shards");
  if (!shards.is_array()) {
    refuse(object.path("shards"), "expected a list, got " + short_text(shards));
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    index.shards.push_back(
        shard_from_json(shards[i], object.path("shards[" + std::to_string(i) + "]")));
  }
  check_sum(where, "num_sequences", index.num_sequences, index.shards, &ShardEntry::num_sequences);
  check_sum(where, "num_tokens", index.num_tokens, index.shards, &ShardEntry::num_tokens);
  if (object.contains("documents")) index.documents = object.sha256_list("documents");
  index.source = object.free_form("source");
  return index;
}

DatasetIndex read_index(const std::filesystem::path& folder) {
  const std::string path = (folder / "index.json").string();
  if (!std::filesystem::exists(path)) {
    throw std::runtime_error(path +
                             ": no such file. A paired dataset is a folder with index.json, " +
                             "which is written last: was its capture interrupted?");
  }
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(read_file(path));
  } catch (const nlohmann::json::parse_error& error) {
    throw std::runtime_error(path + ": not valid JSON: " + error.what());
  }
  return index_from_json(json, path);
}

nlohmann::json to_json(const DatasetIndex& index) {
  nlohmann::json shards = nlohmann::json::array();
  for (const ShardEntry& shard : index.shards) shards.push_back(to_json(shard));
  nlohmann::json json = {{"schema", kSchema},
                         {"layout", index.layout == DatasetLayout::kFlat ? "flat" : "layers"},
                         {"created_by", index.created_by},
                         {"sender", side_to_json(index.sender)},
                         {"receiver", side_to_json(index.receiver)},
                         {"num_sinks", index.num_sinks},
                         {"num_sequences", index.num_sequences},
                         {"num_tokens", index.num_tokens},
                         {"shards", std::move(shards)}};
  if (!index.documents.empty()) json["documents"] = index.documents;
  if (!index.source.empty()) json["source"] = nlohmann::json::parse(index.source);
  return json;
}

std::string shard_file_name(int64_t shard, int64_t num_shards) {
  char name[64];
  std::snprintf(name, sizeof name, "pairs-%05lld-of-%05lld.safetensors",
                static_cast<long long>(shard + 1), static_cast<long long>(num_shards));
  return name;
}

std::vector<std::string> stream_names(DatasetLayout layout, const KvGeometry& geometry) {
  if (layout == DatasetLayout::kFlat) return {"cache"};
  std::vector<std::string> names;
  for (const char* kind : {"keys.", "values."})
    for (int64_t layer = 0; layer < geometry.num_layers; ++layer)
      names.push_back(kind + std::to_string(layer));
  return names;
}

}  // namespace kvalign
