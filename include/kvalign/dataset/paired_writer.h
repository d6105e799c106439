// Writes a paired dataset: sequences are gathered into shards, and index.json comes last, so that a
// folder without it is no dataset. Knows nothing of where the caches come from.
//
// Shapes: S sender streams, R receiver streams, T tokens, d sender width, D receiver width
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "kvalign/dataset/dataset_index.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// One sequence. Either all sequences of a dataset have a label, document or token ids, or none.
struct PairedSequence {
  at::Tensor sender_STd;    ///< [S, T, d] floating, CPU; keys are content keys
  at::Tensor receiver_RTD;  ///< [R, T, D] floating, CPU
  at::Tensor token_ids;     ///< [T] int32, or undefined
  std::optional<int64_t> label;
  std::optional<int64_t> document;
};

struct PairedWriterOptions {
  int64_t num_sequences = 0;         ///< how many will be added: file names hold the shard count
  int64_t sequences_per_shard = 32;  ///< the last shard may hold fewer
  at::ScalarType dtype = at::kHalf;  ///< kHalf, kBFloat16 or kFloat
};

/// Holds one shard in memory.
class KVALIGN_API PairedDatasetWriter {
 public:
  /// Makes `folder`. `header` gives layout, created_by, sides, num_sinks and source; its counts and
  /// shards are ignored. Throws std::invalid_argument where the folder holds a dataset already or
  /// an option is out of range.
  PairedDatasetWriter(std::filesystem::path folder, DatasetIndex header,
                      const PairedWriterOptions& options);

  /// Throws c10::Error where shapes do not fit the header's geometries, where a value is not finite
  /// in the stored dtype (float16 ends at 65504; bfloat16 does not), or on one sequence too many.
  void add(const PairedSequence& sequence);

  /// Writes the last shard and index.json, and returns the index. Throws c10::Error where sequences
  /// are missing.
  DatasetIndex finish();

 private:
  void check(const PairedSequence& sequence) const;
  void write_shard();

  std::filesystem::path folder_;
  DatasetIndex index_;
  PairedWriterOptions options_;
  std::vector<PairedSequence> pending_;
  int64_t num_added_ = 0;
  bool has_token_ids_ = false, has_labels_ = false, has_documents_ = false;
};

}  // namespace kvalign
