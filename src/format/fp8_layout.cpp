// Sizes and scales of a layout, counted and checked. See the header.
#include "kvalign/format/fp8_layout.h"

namespace kvalign {

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
      return layout.tokens * layout.num_kv_heads * fp8_blocks_of_row(layout);
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
  const size_t count = num_fp8_scales(layout);
  Fp8Result result;
  for (size_t i = 0; i < count; ++i) {
    if (is_fp8_layout_scale(layout, scales[i])) continue;
    result.status = Fp8Status::kBadScale;
    result.index = i;
    break;
  }
  return result;
}

}  // namespace kvalign
