// The shape of one model's KV cache, and how its keys were rotated: plain values that every folder
// shares. It checks nothing and reads nothing; core/geometry_json.h does both.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kvalign {

// Which two elements of a head RoPE turns together, for a rotary_dim of n:
//   kHalf         i and i + n/2        Llama, Qwen, Mistral in transformers
//   kInterleaved  2i and 2i + 1        GPT-J, GLM, Cohere; the RoFormer paper (arXiv 2104.09864)
enum class RopePairing { kHalf, kInterleaved };

// How the frequencies are stretched for longer contexts; named as `rope_type` in transformers.
enum class RopeScalingType { kDefault, kLinear, kLlama3 };

struct RopeScaling {
  RopeScalingType type = RopeScalingType::kDefault;
  double factor = 1.0;            // kLinear and kLlama3: how many times longer the context is
  double low_freq_factor = 1.0;   // kLlama3 only
  double high_freq_factor = 1.0;  // kLlama3 only
  int64_t original_max_position_embeddings = 0;  // kLlama3 only: tokens of the first training

  bool operator==(const RopeScaling&) const = default;
};

struct RopeOptions {
  double theta = 10000.0;  // base of the geometric series of frequencies
  RopePairing pairing = RopePairing::kHalf;
  int64_t rotary_dim = 0;  // first elements of a head that are turned; even, at most head_dim
  RopeScaling scaling = {};

  bool operator==(const RopeOptions&) const = default;
};

struct KvGeometry {
  std::string model;         // for people and error messages
  int64_t num_layers = 0;    // 1 for a flat cache
  int64_t num_kv_heads = 0;  // 1 for a flat cache
  int64_t head_dim = 0;
  std::optional<RopeOptions> rope;             // none: keys carry no rotary positions
  int64_t sliding_window = 0;                  // tokens a windowed layer sees; 0: no windows
  std::vector<int64_t> sliding_window_layers;  // the layers with that window, ascending

  // Elements of one token in one stream (keys or values of one layer).
  int64_t width() const { return num_kv_heads * head_dim; }

  bool operator==(const KvGeometry&) const = default;
};

}  // namespace kvalign
