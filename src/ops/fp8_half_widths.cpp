// Stream by stream. See the header.
#include "kvalign/ops/fp8_half_widths.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace kvalign {

Fp8HalfWidths fp8_half_widths(const at::Tensor& codes_STD, const at::Tensor& scales,
                              const Fp8Wire& wire, int64_t num_kv_heads, ScaleOrigin origin) {
  const int64_t heads = wire.granularity == ScaleGranularity::kBlock32 ? 1 : num_kv_heads;
  const at::Tensor codes = codes_STD.contiguous();
  const at::Tensor flat_scales = scales.flatten(1).contiguous();
  const Fp8Layout layout{.tokens = static_cast<size_t>(codes.size(1)),
                         .num_kv_heads = static_cast<size_t>(heads),
                         .head_dim = static_cast<size_t>(codes.size(2) / heads),
                         .granularity = wire.granularity,
                         .format = wire.format};
  Fp8HalfWidths result{.half_widths_STD = at::empty(codes.sizes(), at::kDouble)};
  for (int64_t stream = 0; stream < codes.size(0); ++stream) {
    const at::Tensor own_codes = codes[stream], own_scales = flat_scales[stream];
    const CodeBounds bounds = certify_codes(
        layout, {own_codes.const_data_ptr<uint8_t>(), static_cast<size_t>(own_codes.numel())},
        {own_scales.const_data_ptr<float>(), static_cast<size_t>(own_scales.numel())}, origin);
    std::copy(bounds.bounds.begin(), bounds.bounds.end(),
              result.half_widths_STD[stream].data_ptr<double>());
    result.num_unbounded += bounds.num_unbounded;
  }
  return result;
}

}  // namespace kvalign
