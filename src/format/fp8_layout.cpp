// Sizes and scales of a layout, counted and checked. See the header.
#include "kvalign/format/fp8_layout.h"

#include "kvalign/format/fp8_scale.h"

namespace kvalign {
namespace {

size_t blocks_of_row(const Fp8Layout& layout) {
  return layout.head_dim / kFp8BlockSize + (layout.head_dim % kFp8BlockSize != 0);
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
  switch (layout.granularity) {
    case ScaleGranularity::kTensor:
      return 0;
    case ScaleGranularity::kHead:
      return head;
    case ScaleGranularity::kToken:
      return token;
    case ScaleGranularity::kChannel:
      return head * layout.head_dim + channel;
    case ScaleGranularity::kBlock32:
      return (token * layout.num_kv_heads + head) * blocks_of_row(layout) + channel / kFp8BlockSize;
  }
  return 0;
}

Fp8Result check_fp8_sizes(const Fp8Layout& layout, size_t num_values, size_t num_codes,
                          size_t num_scales) noexcept {
  size_t row = 0;
  size_t elements = 0;
  const bool match = !__builtin_mul_overflow(layout.num_kv_heads, layout.head_dim, &row) &&
                     !__builtin_mul_overflow(layout.tokens, row, &elements) &&
                     num_values == elements && num_codes == elements &&
                     num_scales == num_fp8_scales(layout);
  Fp8Result result;
  if (!match) result.status = Fp8Status::kWrongSize;
  return result;
}

Fp8Result check_fp8_scales(const Fp8Layout& layout, const float* scales) noexcept {
  const bool powers = layout.granularity == ScaleGranularity::kBlock32;
  const size_t count = num_fp8_scales(layout);
  Fp8Result result;
  for (size_t i = 0; i < count; ++i) {
    const bool power = (bits_of_float(scales[i]) & 0x7FFFFF) == 0;
    if (is_fp8_scale(scales[i], layout.format) && (power || !powers)) continue;
    result.status = Fp8Status::kBadScale;
    result.index = i;
    break;
  }
  return result;
}

}  // namespace kvalign
