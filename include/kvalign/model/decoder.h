// A Llama-family decoder that can start from any KV cache: what capture, the identity gate and the
// ladder run. Weights are frozen and stay in the file's dtype (memory-mapped on the CPU);
// activations are float32. It is no serving engine: no paging, no speculative decoding, no training
// of weights.
//
// Shapes:  B batch   T new tokens   C cached tokens   S = C + T   V vocabulary   L layers
//          Q query heads   N kv heads   H head dim   E hidden size
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kvalign/core/kv_cache.h"
#include "kvalign/format/export.h"
#include "kvalign/model/decoder_config.h"

namespace kvalign {

struct DecoderInput {
  at::Tensor token_ids_BT = {};  ///< int32 or int64
  std::optional<KvCache> cache =
      {};  ///< content keys and values of earlier tokens, any floating dtype
  at::Tensor cache_positions = {};  ///< [C] or [B, C] int64; undefined: 0 .. C-1
  at::Tensor positions = {};        ///< [T] or [B, T] int64; undefined: C .. S-1
  at::Tensor mask_BS = {};          ///< bool, false where a token is padding; undefined: none is
  int64_t num_logits = -1;          ///< of the last tokens; 0: none (the head is not run); -1: all
  bool with_cache = true;           ///< return the cache
  bool with_attention = false;      ///< return queries and attention outputs
};

struct DecoderOutput {
  at::Tensor logits_BTV =
      {};  ///< float32, of the last num_logits tokens; undefined where 0 are asked
  std::optional<KvCache> cache = {};          ///< of all S tokens, float32 content keys
  std::vector<at::Tensor> queries_BQTH = {};  ///< a layer, after RoPE
  std::vector<at::Tensor> attention_BTE =
      {};  ///< a layer, what attention adds to the residual stream
};

class KVALIGN_API Decoder {
 public:
  /// Opens a Hugging Face folder: config.json and model.safetensors, or the shards that
  /// model.safetensors.index.json lists; F32, BF16 or F16. Throws as read_decoder_config, and
  /// c10::Error naming file and tensor for a weight that is missing, unknown or of another shape.
  static Decoder load(const std::filesystem::path& folder, c10::Device device = c10::kCPU);
  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;

  const DecoderConfig& config() const;
  const KvGeometry& geometry() const { return config().geometry; }
  const std::filesystem::path& folder() const;
  c10::Device device() const;
  int64_t num_parameters() const;

  /// [E, Q H] float32: how a layer's attention heads enter the residual stream. A copy where the
  /// file has another dtype. Throws c10::Error for a layer that is not there.
  at::Tensor attention_output_weight(int64_t layer) const;

  /// One pass. Gradients flow into `input.cache` where its tensors require them (and gradients are
  /// enabled); never into weights. Attention is causal by place in the sequence: token t sees all
  /// cached tokens and the new ones up to itself, padding left out, and, in sliding-window layers,
  /// only those less than a window of places before it. Padding tokens give arbitrary results.
  /// Throws c10::Error for wrong shapes or dtypes, token ids outside the vocabulary, a cache of
  /// another geometry (the model's name does not count), batch size or device, and padding that
  /// leaves a token without any to see.
  DecoderOutput forward(const DecoderInput& input) const;

 private:
  friend class DecoderSession;
  struct State;
  explicit Decoder(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

/// Step by step continuation without gradients: holds rotated keys in buffers that grow, so that a
/// step costs no copy of what is cached. Borrows the decoder.
class KVALIGN_API DecoderSession {
 public:
  /// Starts from nothing, or from a cache at positions 0 .. C-1.
  explicit DecoderSession(const Decoder& decoder, const std::optional<KvCache>& cache = {});
  ~DecoderSession();

  /// Consumes `token_ids_BT` after what came before; returns the last token's logits [B, V].
  at::Tensor append(const at::Tensor& token_ids_BT);

  /// Tokens consumed, the starting cache's included.
  int64_t num_tokens() const;

  /// Of all of them; float32 content keys.
  KvCache cache() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Greedy continuation: consumes `token_ids_T` (int64 [T], at least the last token of the prefix)
/// after `cache`, and returns up to `num_tokens` most probable tokens one after another; stops
/// after `end_token` (-1: never). Batch of 1.
KVALIGN_API std::vector<int64_t> generate_greedily(const Decoder& decoder,
                                                   const std::optional<KvCache>& cache,
                                                   const at::Tensor& token_ids_T,
                                                   int64_t num_tokens, int64_t end_token = -1);

}  // namespace kvalign
