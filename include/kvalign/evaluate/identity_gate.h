// The identity gate: a model that continues from its own stored cache must predict what it predicts
// when it reads everything. Until it passes, nothing that is measured with injected caches can be
// interpreted. Likewise a captured dataset must hold the caches that the models compute.
//
// Shapes:  T tokens   V vocabulary
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kvalign/core/kv_cache.h"
#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/format/export.h"
#include "kvalign/model/decoder.h"

namespace kvalign {

/// What happens to a cache between the model that made it and the one that continues from it.
using CacheTransport = std::function<KvCache(const KvCache&)>;

/// Writes the cache to a safetensors file of its own in float32 and reads it back; the file is
/// deleted when the cache is. Throws std::runtime_error where no temporary file can be written.
KVALIGN_API KvCache transport_by_file(const KvCache& cache);

/// The first layer in which a cache is not what it should be.
struct KVALIGN_API CacheDeviation {
  int64_t layer = 0;
  std::string what;           ///< "keys", "values"
  double relative_error = 0;  ///< |got - expected| / |expected| over the layer; infinite for NaN
  std::string text() const;   ///< "the keys of layer 3 (relative error 0.12)"
};

/// None where every stream is within `tolerance`. Keys come before values. Throws c10::Error for
/// caches of other shapes.
KVALIGN_API std::optional<CacheDeviation> first_deviation(const KvCache& expected,
                                                          const KvCache& got, double tolerance);

/// Of any stream. Throws as first_deviation.
KVALIGN_API double largest_relative_error(const KvCache& expected, const KvCache& got);

struct GateResult {
  std::string gate = {};  ///< "own cache" or "dataset"
  std::string side = {};  ///< "sender" or "receiver"
  std::string model = {};
  bool passed = false;
  int64_t num_tokens = 0;             ///< own cache: scores compared; dataset: tokens compared
  double max_logit_difference = 0;    ///< own cache
  int64_t changed_top1 = 0;           ///< own cache: most probable tokens that became others
  double largest_relative_error = 0;  ///< dataset: of a stream
  std::string why = {};               ///< one sentence
};

struct IdentityGateOptions {
  std::string side = {};  ///< of the result and its sentence
  /// Of a logit, where logits reach 10; in proportion where they reach further, as float32's
  /// rounding is.
  double max_difference = 1e-4;
  int64_t min_tokens = 1000;  ///< scores to compare; fewer where the sequences have no more
  CacheTransport transport = transport_by_file;
};

/// Each sequence is cut in the middle: the cache of what comes before the last token of the first
/// half is computed, transported and continued from; all later scores are compared with those of
/// one pass over everything. `sequences_T`: int32 or int64 [T], at least 4 tokens each.
/// Throws c10::Error for no sequence or a shorter one, and as Decoder::forward.
KVALIGN_API GateResult check_own_cache(const Decoder& decoder,
                                       const std::vector<at::Tensor>& sequences_T,
                                       const IdentityGateOptions& options);

/// Compares one side's stored caches of `sequences` with what `decoder` computes for the stored
/// token ids. Allowed relative error of a stream, by stored dtype: float32 1e-3, float16 5e-3,
/// others 2e-2. Rounding to float16 alone makes 2.2e-4 (measured on Qwen2.5-Coder-0.5B and 1.5B,
/// captured in float32 by transformers); the rest is for captures that were computed in a shorter
/// type. `side` is "sender" or "receiver".
/// Throws std::invalid_argument for a dataset without token ids.
KVALIGN_API GateResult check_captured_caches(const Decoder& decoder, const PairedDataset& dataset,
                                             const std::vector<int64_t>& sequences,
                                             const std::string& side);

}  // namespace kvalign
