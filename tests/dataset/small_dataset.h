// Small generated datasets, and ways to damage them, for the tests of this folder.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kvalign/core/files.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/core/sha256.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/dataset/generator.h"

namespace kvalign {

inline GeneratorOptions small_flat() {
  GeneratorOptions options;
  options.sender.head_dim = 6;
  options.receiver.head_dim = 10;
  options.num_sequences = 12;
  options.tokens_per_sequence = 7;
  options.sequences_per_shard = 5;
  options.shared_factors = 4;
  options.private_factors = 2;
  return options;
}

/// 2 layers x 2 heads x 8 to 3 layers x 2 heads x 16.
inline GeneratorOptions small_layers() {
  GeneratorOptions options = small_flat();
  options.layout = "layers";
  options.sender = {.num_layers = 2, .num_kv_heads = 2, .head_dim = 8};
  options.receiver = {.num_layers = 3, .num_kv_heads = 2, .head_dim = 16};
  options.sequences_per_document = 2;
  return options;
}

/// A generated dataset in a folder of its own.
struct SmallDataset {
  explicit SmallDataset(const GeneratorOptions& options = small_flat()) : folder(temporary.path()) {
    generate_paired_dataset(options, folder);
  }

  nlohmann::json index() const {
    return nlohmann::json::parse(read_file((folder / "index.json").string()));
  }

  void edit_index(const std::function<void(nlohmann::json&)>& edit) const {
    nlohmann::json json = index();
    edit(json);
    write_file_atomically((folder / "index.json").string(), json.dump());
  }

  std::string shard_path(size_t shard) const {
    return (folder / index()["shards"][shard]["file"].get<std::string>()).string();
  }

  /// Rewrites a shard with changed tensors; the index gets the new checksum.
  void edit_shard(size_t shard,
                  const std::function<void(std::map<std::string, at::Tensor>&)>& edit) {
    const std::string path = shard_path(shard);
    std::map<std::string, at::Tensor> tensors;
    {
      const SafetensorsFile file = SafetensorsFile::open(path);
      for (const auto& [name, info] : file.tensors()) tensors[name] = file.tensor(name).clone();
    }
    edit(tensors);
    std::vector<NamedTensor> edited;
    for (const auto& [name, tensor] : tensors) edited.push_back({name, tensor});
    write_safetensors(path, edited);
    edit_index(
        [&](nlohmann::json& json) { json["shards"][shard]["sha256"] = sha256_of_file(path); });
  }

  TemporaryFolder temporary;
  std::filesystem::path folder;
};

}  // namespace kvalign
