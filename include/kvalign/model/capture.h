// Makes a paired dataset: two decoders read the sequences of a token file, and their caches are
// written. The same files as scripts/capture_hf.py makes with transformers. A capture that was
// stopped goes on where it was.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "kvalign/core/options.h"
#include "kvalign/dataset/dataset_index.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct KVALIGN_API CaptureOptions {
  std::string sender, receiver;      ///< Hugging Face folders
  std::string tokens;                ///< a token file
  int64_t sequences_per_shard = 24;  ///< one shard is held in memory
  int64_t batch_sequences = 8;       ///< of one pass, padded to the longest
  std::string dtype = "float16";     ///< as stored: float16, bfloat16 or float32
  int64_t num_sinks = 4;             ///< recorded in the dataset; nothing is left out of it
  void describe(OptionVisitor& visitor);
};

/// Tokens of both models together; those of shards that were there already do not count.
struct CaptureProgress {
  int64_t tokens_done = 0, tokens_total = 0;
  double tokens_per_s = 0;
};

struct CaptureControl {
  std::function<void(const CaptureProgress&)> on_progress = nullptr;  ///< after each pass
  std::function<bool()> stop_requested = nullptr;                     ///< asked before each pass
};

struct CaptureResult {
  DatasetIndex index;  ///< as written; of no meaning where interrupted
  CaptureProgress progress;
  int64_t num_shards = 0;
  int64_t shards_kept = 0;  ///< found from an earlier capture
  int64_t shards_written = 0;
  bool interrupted = false;  ///< the same call goes on with it
};

/// Writes the dataset to `folder`. Each shard is read by the sender, then by the receiver. Weights
/// are memory-mapped and computed with in float32.
/// Throws as read_token_file, Decoder::load and PairedDatasetWriter do, and c10::Error for token
/// ids that a model does not have.
KVALIGN_API CaptureResult capture(const CaptureOptions& options,
                                  const std::filesystem::path& folder,
                                  c10::Device device = c10::kCPU,
                                  const CaptureControl& control = {});

/// The revision by which a dataset knows a model's folder: SHA-256 of the weights' file; of the
/// digests in order of name where there are several. Throws as sha256_of_file.
KVALIGN_API std::string weights_sha256(const std::filesystem::path& folder);

}  // namespace kvalign
