// What a step asks of a device: operations, weights and memory traffic, counted from shapes alone.
// Nothing is measured or timed here; roofline.h turns work into seconds. Free of LibTorch.
//
// Counted are matrix products, a multiply-add as two operations. Left out are norms, activation
// functions, RoPE and softmax, whose operations grow with a width and not with its square.
// Bytes are the least that must cross the device's memory: weights once a step, what is read of
// caches and features, what is written of them; values between two layers stay on chip.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/model/decoder_config.h"

namespace kvalign {

/// Counts are whole numbers in doubles: exact to 2^53, and no prompt makes them overflow.
struct Work {
  std::string step = {};  ///< what it is, for people
  double flops = 0;
  double parameters = 0;  ///< weights that the step reads
  double weight_bytes = 0;
  double activation_bytes = 0;  ///< caches, features, latents, codes: read and written

  double bytes() const { return weight_bytes + activation_bytes; }
};

/// 4, 2, 2 and 1 for float32, float16, bfloat16 and float8. Throws std::invalid_argument for
/// another name.
KVALIGN_API double element_bytes(const std::string& dtype);

/// Elements of all tensors of the model: a tied head counts once.
KVALIGN_API int64_t num_parameters(const DecoderConfig& config);

/// One pass of a decoder: `tokens` after a cache of `cached`, with the next-token scores of the
/// last `logits` of them. A prefill has cached 0, a step of decoding tokens 1.
struct DecoderPass {
  int64_t cached = 0;
  int64_t tokens = 1;
  int64_t logits = 1;
};

/// All products of one kind in a pass, those of all layers together.
struct MatmulFlops {
  std::string name = {};
  double flops = 0;
};

/// query_key_value, scores, weighted_sum, output, mlp, head. Attention is causal: a token at place
/// p multiplies with p + 1 keys, in layers with a sliding window of w with at most w.
KVALIGN_API std::vector<MatmulFlops> decoder_matmuls(const DecoderConfig& config,
                                                     const DecoderPass& pass);

/// The sum of them, and the pass's bytes with weights and cache in `dtype`. Throws
/// std::invalid_argument for a pass without tokens, or with more logits than tokens.
KVALIGN_API Work decoder_work(const DecoderConfig& config, const DecoderPass& pass,
                              const std::string& dtype, const std::string& step);

/// Elements of keys and values of one token in all layers.
KVALIGN_API int64_t cache_elements(const KvGeometry& geometry);

/// What decides the cost of a projector. The names are those of ProjectorOptions and
/// ProjectorShape.
struct ProjectorSize {
  std::string kind = "linear_residual";
  std::string norm = "none";
  int64_t hidden_size = 0;   ///< mlp: of each stream; residual_mlp: of each group
  int64_t rank = 0;          ///< low_rank, autoencoder: numbers of the latent that are used
  int64_t num_groups = 1;    ///< G
  int64_t num_features = 0;  ///< F, of each group
  int64_t num_streams = 1;   ///< R
  int64_t width = 0;         ///< D, of each stream
  int64_t sender_width = 0;  ///< elements of a sender token's whole cache, read once a token
};

/// Weights and biases as Projector::num_parameters counts them, of a latent cut to `rank`. Of
/// bidirectional and autoencoder those that a projection uses: what reads the receiver's cache is
/// left out.
KVALIGN_API int64_t num_parameters(const ProjectorSize& size);

/// The two ends of a projection of `tokens` tokens. low_rank is encoded on the sender's device and
/// decoded on the receiver's; every other kind runs on the receiver's alone, and `encode` is empty.
struct ProjectionWork {
  Work encode = {};
  Work decode = {};
};

/// With weights, features and outputs in `dtype`. Throws std::invalid_argument for a kind that it
/// does not know, and for sizes that are not positive.
KVALIGN_API ProjectionWork projection_work(const ProjectorSize& size, double tokens,
                                           const std::string& dtype);

/// `numbers` of a type with `element_bytes` turned into `wire_bytes` of codes and scales, or back.
KVALIGN_API Work conversion_work(double numbers, double element_bytes, double wire_bytes,
                                 const std::string& step);

}  // namespace kvalign
