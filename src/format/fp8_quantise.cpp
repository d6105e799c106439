// One loop for every granularity: each row (token, head) falls into pieces that have one scale
// each.
#include "kvalign/format/fp8_quantise.h"

#include <algorithm>

#include "kvalign/format/fp8_scale.h"

namespace kvalign {
namespace {

constexpr size_t kBlock = 32;  // channels; OCP MX

size_t blocks_of_row(const Fp8Layout& layout) {
  return layout.head_dim / kBlock + (layout.head_dim % kBlock != 0);
}

// Channels of a row that share a scale.
size_t piece_of_row(const Fp8Layout& layout) {
  switch (layout.granularity) {
    case ScaleGranularity::kChannel:
      return 1;
    case ScaleGranularity::kBlock32:
      return kBlock;
    default:
      return layout.head_dim;
  }
}

// Index of the scale of a row's first channel.
size_t first_scale_of_row(const Fp8Layout& layout, size_t token, size_t head) {
  switch (layout.granularity) {
    case ScaleGranularity::kTensor:
      return 0;
    case ScaleGranularity::kHead:
      return head;
    case ScaleGranularity::kToken:
      return token;
    case ScaleGranularity::kChannel:
      return head * layout.head_dim;
    case ScaleGranularity::kBlock32:
      return (token * layout.num_kv_heads + head) * blocks_of_row(layout);
  }
  return 0;
}

// visit(first element, number of elements, index of their scale), in the order of the elements.
template <class Visit>
void for_each_piece(const Fp8Layout& layout, Visit visit) {
  // Rows without elements fit any number of tokens: an empty packet could keep this busy for years.
  if (layout.num_kv_heads == 0 || layout.head_dim == 0) return;
  const size_t piece = piece_of_row(layout);
  size_t row = 0;
  for (size_t token = 0; token < layout.tokens; ++token) {
    for (size_t head = 0; head < layout.num_kv_heads; ++head, row += layout.head_dim) {
      size_t scale = first_scale_of_row(layout, token, head);
      for (size_t channel = 0; channel < layout.head_dim; channel += piece, ++scale) {
        visit(row + channel, std::min(piece, layout.head_dim - channel), scale);
      }
    }
  }
}

// A product of sizes that does not fit matches no buffer: sizes may come from the network.
bool sizes_match(const Fp8Layout& layout, size_t num_values, size_t num_codes, size_t num_scales) {
  size_t row = 0;
  size_t elements = 0;
  return !__builtin_mul_overflow(layout.num_kv_heads, layout.head_dim, &row) &&
         !__builtin_mul_overflow(layout.tokens, row, &elements) && num_values == elements &&
         num_codes == elements && num_scales == num_fp8_scales(layout);
}

// kOk, or kBadScale with the index of the first.
Fp8Result check_scales(const Fp8Layout& layout, std::span<const float> scales) {
  const bool powers = layout.granularity == ScaleGranularity::kBlock32;
  for (size_t i = 0; i < scales.size(); ++i) {
    const bool power = (bits_of_float(scales[i]) & 0x7FFFFF) == 0;
    if (!is_fp8_scale(scales[i], layout.format) || (powers && !power)) {
      return {.status = Fp8Status::kBadScale, .index = i};
    }
  }
  return {};
}

uint32_t magnitude_of(float value) {
  return bits_of_float(value) & 0x7FFFFFFF;
}

// kOk, or kNotFinite with the index of the first.
Fp8Result check_finite(std::span<const float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (magnitude_of(values[i]) >= 0x7F800000) {
      return {.status = Fp8Status::kNotFinite, .index = i};
    }
  }
  return {};
}

// One group, or a part of it: finite values, a scale that is one.
void encode_piece(std::span<const float> values, float scale, Fp8Format format, uint8_t* codes,
                  Fp8Result& counts) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t bits = bits_of_float(fp8_quotient(values[i], scale));
    codes[i] = encode_fp8_bits(bits, format, Fp8Overflow::kSaturate);
    counts.saturated += round_to_fp8(bits & 0x7FFFFFFF, format) > fp8_largest_code(format);
    counts.flushed += (codes[i] & 0x7F) == 0 && magnitude_of(values[i]) != 0;
  }
}

}  // namespace

size_t num_fp8_scales(const Fp8Layout& layout) noexcept {
  switch (layout.granularity) {
    case ScaleGranularity::kTensor:
      return 1;
    case ScaleGranularity::kHead:
      return layout.num_kv_heads;
    case ScaleGranularity::kToken:
      return layout.tokens;
    case ScaleGranularity::kChannel:
      return layout.num_kv_heads * layout.head_dim;
    case ScaleGranularity::kBlock32:
      return layout.tokens * layout.num_kv_heads * blocks_of_row(layout);
  }
  return 0;
}

size_t fp8_scale_index(const Fp8Layout& layout, size_t token, size_t head,
                       size_t channel) noexcept {
  return first_scale_of_row(layout, token, head) + channel / piece_of_row(layout);
}

Fp8Result choose_fp8_scales(const Fp8Layout& layout, std::span<const float> values,
                            std::span<float> scales) noexcept {
  if (!sizes_match(layout, values.size(), values.size(), scales.size())) {
    return {.status = Fp8Status::kWrongSize};
  }
  const Fp8Result finite = check_finite(values);
  if (!finite.ok()) return finite;
  std::fill(scales.begin(), scales.end(), 0.0f);  // each group's amax, while it is being found
  for_each_piece(layout, [&](size_t first, size_t count, size_t scale) {
    uint32_t largest = magnitude_of(scales[scale]);
    for (const float value : values.subspan(first, count)) {
      largest = std::max(largest, magnitude_of(value));
    }
    scales[scale] = float_of_bits(largest);
  });
  const bool powers = layout.granularity == ScaleGranularity::kBlock32;
  for (float& scale : scales) {
    scale = powers ? fp8_block_scale_of(scale, layout.format) : fp8_scale_of(scale, layout.format);
  }
  return {};
}

Fp8Result encode_fp8(const Fp8Layout& layout, std::span<const float> values,
                     std::span<const float> scales, std::span<uint8_t> codes) noexcept {
  if (!sizes_match(layout, values.size(), codes.size(), scales.size())) {
    return {.status = Fp8Status::kWrongSize};
  }
  const Fp8Result checked = check_scales(layout, scales);
  if (!checked.ok()) return checked;
  const Fp8Result finite = check_finite(values);
  if (!finite.ok()) return finite;
  Fp8Result result;
  for_each_piece(layout, [&](size_t first, size_t count, size_t scale) {
    encode_piece(values.subspan(first, count), scales[scale], layout.format, &codes[first], result);
  });
  return result;
}

Fp8Result quantise_fp8(const Fp8Layout& layout, std::span<const float> values,
                       std::span<float> scales, std::span<uint8_t> codes) noexcept {
  const Fp8Result chosen = choose_fp8_scales(layout, values, scales);
  if (!chosen.ok()) return chosen;
  return encode_fp8(layout, values, scales, codes);
}

Fp8Result dequantise_fp8(const Fp8Layout& layout, std::span<const uint8_t> codes,
                         std::span<const float> scales, std::span<float> values) noexcept {
  if (!sizes_match(layout, values.size(), codes.size(), scales.size())) {
    return {.status = Fp8Status::kWrongSize};
  }
  const Fp8Result checked = check_scales(layout, scales);
  if (!checked.ok()) return checked;
  for (size_t i = 0; i < codes.size(); ++i) {
    if (!is_finite_fp8(codes[i], layout.format)) {
      return {.status = Fp8Status::kNotFinite, .index = i};
    }
  }
  for_each_piece(layout, [&](size_t first, size_t count, size_t scale) {
    for (size_t i = first; i < first + count; ++i) {
      values[i] = decode_fp8(codes[i], layout.format) * scales[scale];
    }
  });
  return {};
}

}  // namespace kvalign
