// A paired dataset on disk, opened for reading: the caches of a sender and a receiver over the same
// tokens, packed in memory-mapped safetensors shards. Where the two have different tokenisers, the
// tokens are the receiver's, and each reads the sender tokens that it is aligned with. Files are
// never changed. Order, batches and threads are loader.h's; a full scan of the values is
// summary.h's.
//
// Shapes: S sender streams, R receiver streams, T tokens packed over sequences, B sequences,
//         d sender width, D receiver width (width = num_kv_heads * head_dim)
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kvalign/dataset/alignment.h"
#include "kvalign/dataset/dataset_index.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// Whole sequences, packed one after another. All tensors are contiguous and on the CPU.
struct PairedBatch {
  at::Tensor sender_STd;    ///< [S, T, d] float32; keys are content keys. As aligned, if it is
  at::Tensor receiver_RTD;  ///< [R, T, D] float32
  at::Tensor
      sequence_offsets;  ///< [B + 1] int64; sequence b is tokens [offsets[b], offsets[b + 1])
  at::Tensor token_ids;  ///< [T] int32, undefined where the dataset has none
  at::Tensor labels;     ///< [B] int64, undefined where the dataset has none
  std::vector<int64_t> sequences;  ///< [B] numbers in the dataset
  int64_t num_tokens() const { return sender_STd.size(1); }
};

/// Thread-safe once opened: every member is const, and reads share nothing.
class KVALIGN_API PairedDataset {
 public:
  /// Opens `folder`, checks index.json and each shard's header: names, shapes, dtypes, offsets and
  /// counts. Cheap: no cache value is read and no checksum computed (verify_dataset in summary.h
  /// does). `alignment`: how read() takes sender tokens where the tokenisers differ.
  /// Throws std::invalid_argument, std::runtime_error or c10::Error naming file and tensor.
  static std::shared_ptr<const PairedDataset> open(
      const std::filesystem::path& folder, AlignmentReading alignment = AlignmentReading::kLast);
  ~PairedDataset();

  const std::filesystem::path& folder() const;
  const DatasetIndex& index() const;
  const std::string& sha256() const;  ///< of index.json's bytes, which hold the shards' own SHA-256
  int64_t num_sequences() const;
  int64_t num_tokens() const;
  int64_t num_sender_streams() const;
  int64_t num_receiver_streams() const;
  std::vector<std::string> sender_stream_names() const;
  std::vector<std::string> receiver_stream_names() const;

  /// Of sequence 0 <= `sequence` < num_sequences(), numbered through the shards in order.
  int64_t sequence_length(int64_t sequence) const;
  /// Sequences of one document never fall in two splits. The sequence's own number where the files
  /// have no document_ids.
  int64_t document(int64_t sequence) const;
  std::optional<int64_t> label(int64_t sequence) const;
  bool has_documents() const;
  bool has_labels() const;
  bool has_token_ids() const;
  bool has_alignment() const;  ///< the tokenisers differ

  /// How many tokens the sender has of a sequence; sequence_length() where the tokenisers are one.
  int64_t sender_length(int64_t sequence) const;

  /// Reads sequences, in the order given, as float32, leaving out the first `skip_first_tokens` of
  /// each (attention sinks). Costs one conversion pass; runs on the calling thread alone.
  /// Throws c10::Error for a number out of range, an empty list, a sequence that would be left
  /// without tokens, and a NaN or infinity, naming file, tensor, sequence and token.
  PairedBatch read(const std::vector<int64_t>& sequences, int64_t skip_first_tokens = 0) const;

  /// One tensor of one shard as stored, e.g. ("pairs-00001-of-00004.safetensors", "sender.cache"):
  /// borrowed from the mapping, valid while the dataset lives, not to be written to.
  at::Tensor stored_tensor(int64_t shard, const std::string& name) const;
  /// The shard of a sequence and its number in the shard.
  struct Place {
    int64_t shard, sequence_in_shard;
  };
  Place place(int64_t sequence) const;

 private:
  struct State;
  explicit PairedDataset(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace kvalign
