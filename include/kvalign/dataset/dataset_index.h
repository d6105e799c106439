// index.json of a paired dataset (schema 1): who was captured, in how many sequences, in which
// shards. Reads and writes that file alone; shards are opened by paired_dataset.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/format/geometry.h"

namespace kvalign {

/// `layers`: keys and values of every layer of two models. `flat`: one cache vector a token a side.
enum class DatasetLayout { kLayers, kFlat };

/// One of the two models. A flat side has one layer, one head and no rope.
struct DatasetSide {
  KvGeometry geometry;
  std::string revision;          ///< SHA-256 or name of the weights
  std::string tokenizer_sha256;  ///< empty where there is no tokenizer
  bool operator==(const DatasetSide&) const = default;
};

struct ShardEntry {
  std::string file;    ///< name in the dataset's folder
  std::string sha256;  ///< of the whole file, lower-case hexadecimal
  int64_t num_sequences = 0;
  int64_t num_tokens = 0;  ///< of the receiver
  bool operator==(const ShardEntry&) const = default;
};

struct DatasetIndex {
  DatasetLayout layout = DatasetLayout::kFlat;
  std::string created_by;
  DatasetSide sender, receiver;
  int64_t num_sinks =
      0;  ///< attention sinks at each sequence's start, kept in the files; 0 if flat
  int64_t num_sequences = 0;
  int64_t num_tokens = 0;  ///< of the receiver, where the two models have tokens of their own
  std::vector<ShardEntry> shards;
  std::vector<std::string> documents;  ///< SHA-256 of each document's text, by id; empty if unknown
  std::string source;  ///< JSON object, free-form: what it was made from; empty if not given
  bool operator==(const DatasetIndex&) const = default;
};

/// Reads `folder`/index.json. Strict: a missing or unknown key, another schema, a count that is not
/// the sum over the shards, a flat side with layers or heads, a shard name with a folder in it are
/// std::invalid_argument naming the file, the key, what was expected and what came. A file that is
/// missing or no JSON is std::runtime_error.
KVALIGN_API DatasetIndex read_index(const std::filesystem::path& folder);

/// The same checks on parsed JSON; `where` is named in errors.
KVALIGN_API DatasetIndex index_from_json(const nlohmann::json& json, const std::string& where);
KVALIGN_API nlohmann::json to_json(const DatasetIndex& index);

/// pairs-00002-of-00004.safetensors for `shard` 1 (counted from 0) of 4.
KVALIGN_API std::string shard_file_name(int64_t shard, int64_t num_shards);

/// Streams of one side, in the order of every stacked tensor: keys.0 .. keys.{L-1}, values.0 ..
/// values.{L-1}; or `cache` alone if flat. A shard's tensor is `sender.` or `receiver.` + name.
KVALIGN_API std::vector<std::string> stream_names(DatasetLayout layout, const KvGeometry& geometry);

}  // namespace kvalign
