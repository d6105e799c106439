// Writes a paired dataset: sequences are gathered into shards, and index.json comes last, so that a
// folder without it is no dataset. With a plan, a capture that was stopped goes on where it was.
// Knows nothing of where the caches come from.
//
// Shapes: S sender streams, R receiver streams, T tokens, U sender tokens (T where both models have
//         one tokeniser), d sender width, D receiver width
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kvalign/dataset/dataset_index.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// One sequence. Either all sequences of a dataset have a label, document, token ids or alignment,
/// or none.
struct PairedSequence {
  at::Tensor sender_SUd;        ///< [S, U, d] floating, CPU; keys are content keys
  at::Tensor receiver_RTD;      ///< [R, T, D] floating, CPU
  at::Tensor token_ids;         ///< [T] int32, or undefined
  at::Tensor sender_token_ids;  ///< [U] int32 where the tokenisers differ, else undefined
  at::Tensor alignment;         ///< [T] int32 where the tokenisers differ (align_tokens)
  std::optional<int64_t> label;
  std::optional<int64_t> document;
};

struct PairedWriterOptions {
  int64_t num_sequences = 0;         ///< how many will be added: file names hold the shard count
  int64_t sequences_per_shard = 32;  ///< the last shard may hold fewer
  at::ScalarType dtype = at::kHalf;  ///< kHalf, kBFloat16 or kFloat
  /// Names everything that decides the content, e.g. its SHA-256; recorded in `source`. Empty: the
  /// folder cannot be gone on with.
  std::string plan = {};
};

/// Holds one shard in memory, and the larger side of it twice while it is written.
class KVALIGN_API PairedDatasetWriter {
 public:
  /// Makes `folder`. `header` gives layout, created_by, sides, num_sinks, documents and source; its
  /// counts and shards are ignored. Throws std::invalid_argument where an option is out of range,
  /// and where the folder holds a dataset already or, with a plan, one of another plan or shards of
  /// unknown origin. With a plan, hashes the shards that are there.
  PairedDatasetWriter(std::filesystem::path folder, DatasetIndex header,
                      const PairedWriterOptions& options);

  int64_t num_shards() const;
  /// A shard of the same plan is in the folder, with the SHA-256 that was recorded.
  bool has_shard(int64_t shard) const { return kept_.count(shard) != 0; }
  /// Takes the next shard, which has_shard() knows, as it is, in place of adding its sequences.
  void keep_shard();

  /// Throws c10::Error where shapes do not fit the header's geometries, where a value is not finite
  /// in the stored dtype (float16 ends at 65504; bfloat16 does not), where the document is none of
  /// the header's, or on one sequence too many.
  void add(const PairedSequence& sequence);

  /// Writes the last shard and index.json, and returns the index. Throws c10::Error where sequences
  /// are missing.
  DatasetIndex finish();

 private:
  void check(const PairedSequence& sequence) const;
  void check_tokens(const PairedSequence& sequence) const;
  void write_shard();

  std::filesystem::path folder_;
  DatasetIndex index_;
  PairedWriterOptions options_;
  std::map<int64_t, ShardEntry> kept_;  ///< shards of the plan, found or written
  std::vector<PairedSequence> pending_;
  int64_t num_added_ = 0;
  std::optional<PairedSequence> first_;  ///< without caches: what all sequences must have
};

}  // namespace kvalign
