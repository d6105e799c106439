// RoPE by ATen tensor functions, in the order of operations of transformers' modeling_rope_utils.py
// and apply_rotary_pos_emb, whose float32 results it reproduces.
//
// Shapes: B batch, N kv heads, T tokens, H head dim, P rotary_dim / 2 pairs of channels
#include "kvalign/ops/rope.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

namespace kvalign {
namespace {

void check_options(const RopeOptions& rope) {
  TORCH_CHECK(std::isfinite(rope.theta) && rope.theta > 0, "rope: expected a positive theta, got ",
              rope.theta, ". Is it missing from the model's geometry?");
  TORCH_CHECK(rope.rotary_dim > 0 && rope.rotary_dim % 2 == 0,
              "rope: expected a positive even rotary_dim, got ", rope.rotary_dim,
              ". Channels are turned in pairs.");
  const RopeScaling& scaling = rope.scaling;
  TORCH_CHECK(scaling.type == RopeScalingType::kDefault ||
                  (std::isfinite(scaling.factor) && scaling.factor > 0),
              "rope: expected a positive scaling factor, got ", scaling.factor, ".");
  TORCH_CHECK(
      scaling.type != RopeScalingType::kLlama3 ||
          (scaling.low_freq_factor > 0 && scaling.high_freq_factor > scaling.low_freq_factor &&
           scaling.original_max_position_embeddings > 0),
      "rope: llama3 scaling expected 0 < low_freq_factor < high_freq_factor and a positive "
      "original_max_position_embeddings, got ",
      scaling.low_freq_factor, ", ", scaling.high_freq_factor, " and ",
      scaling.original_max_position_embeddings, ".");
}

at::Tensor scale_llama3(const at::Tensor& inverse_frequencies_P, const RopeScaling& scaling) {
  const auto original_context = static_cast<double>(scaling.original_max_position_embeddings);
  const double low = scaling.low_freq_factor, high = scaling.high_freq_factor;
  const at::Tensor wavelengths_P = 2 * std::numbers::pi / inverse_frequencies_P;
  const at::Tensor smooth_P = (original_context / wavelengths_P - low) / (high - low);
  const at::Tensor interpolated_P =
      (1 - smooth_P) * inverse_frequencies_P / scaling.factor + smooth_P * inverse_frequencies_P;
  const at::Tensor scaled_P = inverse_frequencies_P / scaling.factor;
  const at::Tensor long_P = wavelengths_P > original_context / low;
  const at::Tensor short_P = wavelengths_P < original_context / high;
  return at::where(long_P, scaled_P, at::where(short_P, inverse_frequencies_P, interpolated_P));
}

void check_keys(const at::Tensor& keys_BNTH, const RopeTable& table, const char* name) {
  TORCH_CHECK(keys_BNTH.dim() == 4 && keys_BNTH.is_floating_point(), name,
              ": expected floating keys [batch, kv heads, tokens, head dim], got ",
              keys_BNTH.scalar_type(), " ", keys_BNTH.sizes(), ".");
  TORCH_CHECK(table.cos.size(-2) == keys_BNTH.size(2) &&
                  (table.cos.dim() == 2 || table.cos.size(0) == keys_BNTH.size(0)),
              name, ": expected a position for each of ", keys_BNTH.size(2),
              " tokens, in one row or ", keys_BNTH.size(0), ", got ", table.cos.size(-2),
              " positions in ", table.cos.dim() == 2 ? 1 : table.cos.size(0), ".");
  TORCH_CHECK(table.cos.device() == keys_BNTH.device(), name,
              ": expected keys and positions on one device, got ", keys_BNTH.device(), " and ",
              table.cos.device(), ".");
  TORCH_CHECK(2 * table.cos.size(-1) <= keys_BNTH.size(3), name,
              ": expected rotary_dim up to the head dim ", keys_BNTH.size(3), ", got ",
              2 * table.cos.size(-1), ". Is this the geometry of another model?");
}

/// `direction` is 1 to apply and -1 to remove.
at::Tensor rotate(const at::Tensor& keys_BNTH, const RopeTable& table, double direction,
                  const char* name) {
  check_keys(keys_BNTH, table, name);
  const int64_t head_dim = keys_BNTH.size(3), rotary_dim = 2 * table.cos.size(-1);
  const at::ScalarType dtype = keys_BNTH.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor cos = table.cos.to(dtype);
  const at::Tensor sin = (direction > 0 ? table.sin : -table.sin).to(dtype);

  // Views [.., P] of the two channels of each pair, of the input and of the output.
  const auto pair_member = [&](const at::Tensor& tensor_BNTH, int64_t member) {
    return table.pairing == RopePairing::kHalf
               ? tensor_BNTH.narrow(3, member * rotary_dim / 2, rotary_dim / 2)
               : tensor_BNTH.slice(3, member, rotary_dim, 2);
  };
  const at::Tensor first = pair_member(keys_BNTH, 0).to(dtype);
  const at::Tensor second = pair_member(keys_BNTH, 1).to(dtype);
  at::Tensor rotated_BNTH = at::empty_like(keys_BNTH, at::MemoryFormat::Contiguous);
  pair_member(rotated_BNTH, 0).copy_(first * cos - second * sin);
  pair_member(rotated_BNTH, 1).copy_(second * cos + first * sin);
  const int64_t num_passed = head_dim - rotary_dim;
  rotated_BNTH.narrow(3, rotary_dim, num_passed).copy_(keys_BNTH.narrow(3, rotary_dim, num_passed));
  return rotated_BNTH;
}

}  // namespace

at::Tensor rope_inverse_frequencies(const RopeOptions& rope) {
  check_options(rope);
  const at::Tensor exponents_P =
      at::arange(0, rope.rotary_dim, 2, at::kLong).to(at::kFloat) / rope.rotary_dim;
  const at::Tensor inverse_frequencies_P = 1.0 / at::pow(rope.theta, exponents_P);
  switch (rope.scaling.type) {
    case RopeScalingType::kDefault:
      return inverse_frequencies_P;
    case RopeScalingType::kLinear:
      return inverse_frequencies_P / rope.scaling.factor;
    case RopeScalingType::kLlama3:
      return scale_llama3(inverse_frequencies_P, rope.scaling);
  }
  TORCH_CHECK(false, "rope: unknown scaling type ", static_cast<int>(rope.scaling.type), ".");
}

RopeTable make_rope_table(const at::Tensor& positions, const RopeOptions& rope) {
  TORCH_CHECK(positions.defined() && (positions.dim() == 1 || positions.dim() == 2) &&
                  positions.scalar_type() == at::kLong,
              "rope: expected int64 positions [tokens] or [batch, tokens], got ",
              positions.defined() ? c10::str(positions.scalar_type(), " ", positions.sizes())
                                  : std::string("nothing"),
              ".");
  const at::Tensor inverse_frequencies_P =
      rope_inverse_frequencies(rope).to(positions.device(), /*non_blocking=*/true);
  at::Tensor angles = positions.to(at::kFloat).unsqueeze(-1) * inverse_frequencies_P;
  if (positions.dim() == 2) angles = angles.unsqueeze(1);
  return {rope.pairing, angles.cos(), angles.sin()};
}

at::Tensor apply_rope(const at::Tensor& keys_BNTH, const at::Tensor& positions_T,
                      const RopeOptions& rope) {
  return apply_rope(keys_BNTH, make_rope_table(positions_T, rope));
}

at::Tensor apply_rope(const at::Tensor& keys_BNTH, const RopeTable& table) {
  return rotate(keys_BNTH, table, 1, "apply_rope");
}

// As more heads of one layer.
std::vector<at::Tensor> apply_rope(const std::vector<at::Tensor>& keys_BNTH,
                                   const RopeTable& table) {
  if (keys_BNTH.empty()) return {};
  return apply_rope(at::cat(keys_BNTH, 1), table).split(keys_BNTH.front().size(1), 1);
}

at::Tensor remove_rope(const at::Tensor& keys_BNTH, const at::Tensor& positions_T,
                       const RopeOptions& rope) {
  return remove_rope(keys_BNTH, make_rope_table(positions_T, rope));
}

at::Tensor remove_rope(const at::Tensor& keys_BNTH, const RopeTable& table) {
  return rotate(keys_BNTH, table, -1, "remove_rope");
}

}  // namespace kvalign
