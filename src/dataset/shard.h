// One shard of a paired dataset, mapped, with every tensor's name, dtype and shape checked against
// the index. Internal to dataset/.
//
// Shapes: T tokens of the shard, U its sender tokens (T where both models have one tokeniser),
//         S its sequences, d sender width, D receiver width
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "kvalign/core/safetensors.h"
#include "kvalign/dataset/dataset_index.h"

namespace kvalign {

/// A stored stream of a shard: [tokens, width] of the shard's dtype, a view of the mapping.
struct StoredStream {
  std::string name;  ///< e.g. sender.keys.3
  at::Tensor cache;
};

struct Shard {
  SafetensorsFile file;
  std::vector<StoredStream> sender_Ud = {}, receiver_TD = {};  ///< in the order of stream_names()
  at::ScalarType dtype = at::kFloat;                           ///< of all its caches
  std::vector<int64_t> sequence_offsets = {};                  ///< S + 1, of T
  std::vector<int64_t> sender_offsets = {};                    ///< S + 1, of U
  at::Tensor alignment = {};                                   ///< [T] int32 where U is its own
  at::Tensor token_ids = {};                                   ///< [T] int32 or undefined
  std::vector<int64_t> labels = {}, documents = {};            ///< S, or empty
};

/// Opens and checks one shard. Errors name the file and the tensor (c10::Error).
Shard open_shard(const std::filesystem::path& folder, const DatasetIndex& index,
                 const ShardEntry& entry);

/// Position of the first NaN or infinity of `count` floats, or -1.
int64_t first_non_finite(const float* values, int64_t count);

/// Rows [first, first + count) of a stored stream as float32 into `output`, [count, width]
/// contiguous. Returns the position of the first value that is not finite, counted from the first
/// row, or -1. Stays on the calling thread.
int64_t copy_rows(const at::Tensor& cache, int64_t first, int64_t count, float* output);

/// "sequence 12, token 3, channel 7 of 64 is not finite. ..."; `position` counts from the first row
/// of the sequence, after `skipped_tokens`.
std::string non_finite_text(const StoredStream& stream, int64_t sequence, int64_t position,
                            int64_t skipped_tokens = 0);

}  // namespace kvalign
