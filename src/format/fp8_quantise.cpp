// One loop for every granularity: each row (token, head) falls into pieces that have one scale
// each.
#include "kvalign/format/fp8_quantise.h"

#include <algorithm>

#include "kvalign/format/fp8_scale.h"

namespace kvalign {
namespace {

// Channels of a row that share a scale.
size_t piece_of_row(const Fp8Layout& layout) {
  switch (layout.granularity) {
    case ScaleGranularity::kChannel:
      return 1;
    case ScaleGranularity::kBlock32:
      return kFp8BlockSize;
    default:
      return layout.head_dim;
  }
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
      size_t scale = fp8_scale_index(layout, token, head, 0);
      for (size_t channel = 0; channel < layout.head_dim; channel += piece, ++scale) {
        visit(row + channel, std::min(piece, layout.head_dim - channel), scale);
      }
    }
  }
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
    const float quotient = fp8_quotient(values[i], scale);
    codes[i] = encode_fp8(quotient, format, Fp8Overflow::kSaturate);
    counts.saturated += fp8_saturates(quotient, format);
    counts.flushed += fp8_flushes(values[i], codes[i]);
  }
}

}  // namespace

Fp8Result choose_fp8_scales(const Fp8Layout& layout, std::span<const float> values,
                            std::span<float> scales) noexcept {
  const Fp8Result sizes = check_fp8_sizes(layout, values.size(), values.size(), scales.size());
  if (!sizes.ok()) return sizes;
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
  const Fp8Result sizes = check_fp8_sizes(layout, values.size(), codes.size(), scales.size());
  if (!sizes.ok()) return sizes;
  const Fp8Result checked = check_fp8_scales(layout, scales.data());
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
  const Fp8Result sizes = check_fp8_sizes(layout, values.size(), codes.size(), scales.size());
  if (!sizes.ok()) return sizes;
  const Fp8Result checked = check_fp8_scales(layout, scales.data());
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
