// One pass of new tokens through the layers of a decoder. Where keys and values of earlier tokens
// are kept is the caller's choice (AttentionMemory): joined for gradients, or in growing buffers.
//
// Shapes:  B batch   T new tokens   C cached tokens   S = C + T   E hidden size
//          Q query heads   N kv heads   H head dim
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "decoder_weights.h"
#include "kvalign/ops/rope.h"

namespace kvalign {

struct KeysValues {
  at::Tensor keys_BNSH, values_BNSH;  // keys are rotated
};

// Takes each layer's new keys and values and gives back those of all tokens.
class AttentionMemory {
 public:
  virtual ~AttentionMemory() = default;
  virtual int64_t num_tokens() const = 0;  // C, while a pass runs
  virtual KeysValues append(int64_t layer, const at::Tensor& content_keys_BNTH,
                            const at::Tensor& rotated_keys_BNTH, const at::Tensor& values_BNTH) = 0;
};

struct PassInput {
  at::Tensor token_ids_BT;  // int64
  RopeTable rope;           // of the new tokens
  at::Tensor mask_BS;       // bool or undefined
  int64_t num_logits = 0;
  bool with_attention = false;
};

struct PassOutput {
  at::Tensor logits_BTV;
  std::vector<at::Tensor> queries_BQTH, attention_BTE;
};

PassOutput run_layers(const DecoderConfig& config, const DecoderWeights& weights,
                      const PassInput& input, AttentionMemory& memory);

// Errors: c10::Error for token ids that are not int32 or int64 [B, T], or outside the vocabulary.
at::Tensor check_token_ids(const at::Tensor& token_ids_BT, const DecoderConfig& config,
                           c10::Device device);

}  // namespace kvalign
