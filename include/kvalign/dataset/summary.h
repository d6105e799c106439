// What is in a paired dataset, whether its files are sound, and how its values are distributed.
// Each answer is a struct with JSON for machines and a text for people; nothing is printed here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/dataset/split.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// From index.json and the headers alone.
struct KVALIGN_API DatasetInspection {
  DatasetIndex index;
  std::string sha256;  ///< of index.json
  std::string dtype;   ///< of the stored caches, e.g. "F16"; several joined by "," if shards differ
  int64_t num_documents = 0;
  int64_t shortest_sequence = 0, longest_sequence = 0;  ///< tokens
  bool has_alignment = false;                           ///< the tokenisers differ
  int64_t num_sender_tokens = 0;                        ///< index.num_tokens without alignment
  int64_t file_bytes = 0;
  int64_t sender_bytes_per_token = 0, receiver_bytes_per_token = 0;  ///< as stored
  bool has_token_ids = false;
  std::map<int64_t, int64_t> label_counts;  ///< sequences a label; empty without labels
  Split split;                              ///< by the options given
};
KVALIGN_API DatasetInspection inspect_dataset(const PairedDataset& dataset,
                                              const SplitOptions& split = {});
KVALIGN_API nlohmann::json to_json(const DatasetInspection& inspection);
KVALIGN_API std::string to_text(const DatasetInspection& inspection);

/// Reads every byte: SHA-256 of each shard, structure, and a scan for NaN and infinities.
struct KVALIGN_API DatasetVerification {
  std::vector<std::string> problems;  ///< one sentence each, naming file, tensor, sequence, token
  int64_t shards_checked = 0;
  int64_t bytes_checked = 0;
  bool sound() const { return problems.empty(); }
};
/// Never throws for what is wrong in the folder: it is listed in `problems`. `on_shard`, if given,
/// is called after each shard with (shards done, shards).
KVALIGN_API DatasetVerification
verify_dataset(const std::filesystem::path& folder,
               const std::function<void(int64_t, int64_t)>& on_shard = nullptr);
KVALIGN_API nlohmann::json to_json(const DatasetVerification& verification);
KVALIGN_API std::string to_text(const DatasetVerification& verification);

/// Of one stream, over all tokens and channels that are not sinks.
struct StreamStatistics {
  std::string name;  ///< e.g. sender.keys.3
  double mean = 0, standard_deviation = 0, absolute_maximum = 0;
  double largest_channel_ratio = 0;  ///< rms of the largest channel / rms of all: outlier channels
  double sink_norm_ratio =
      0;  ///< mean norm of the first 4 tokens of sequences / mean norm of the rest
};
struct KVALIGN_API DatasetStatistics {
  std::vector<StreamStatistics> streams;  ///< sender's, then receiver's
  int64_t num_tokens = 0;
};
KVALIGN_API DatasetStatistics compute_statistics(const PairedDataset& dataset);
KVALIGN_API nlohmann::json to_json(const DatasetStatistics& statistics);
KVALIGN_API std::string to_text(const DatasetStatistics& statistics);

}  // namespace kvalign
