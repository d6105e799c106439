// Contiguous CPU tensors go through the vector codec, a stream at a time. Elsewhere every
// granularity is a reduction over some dimensions of a four-dimensional view. See the header.
#include "kvalign/ops/fp8_quantizer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <atomic>
#include <span>
#include <vector>

#include "kvalign/format/fp8_scale.h"
#include "kvalign/ops/fp8_codec.h"

namespace kvalign {
namespace {

constexpr int64_t kBlock = 32;  // channels; OCP MX

at::ScalarType dtype_of(Fp8Format format) {
  return format == Fp8Format::kE4M3FN ? at::kFloat8_e4m3fn : at::kFloat8_e5m2;
}

// Dimensions of the grouped view that share a scale.
std::vector<int64_t> shared_dimensions(ScaleGranularity granularity) {
  switch (granularity) {
    case ScaleGranularity::kTensor:
      return {1, 2, 3};
    case ScaleGranularity::kHead:
      return {1, 3};
    case ScaleGranularity::kToken:
      return {2, 3};
    case ScaleGranularity::kChannel:
      return {1};
    case ScaleGranularity::kBlock32:
      return {3};
  }
  return {};
}

// 2^(floor(log2 amax) - exponent of the largest finite value): fp8_block_scale_of.
at::Tensor block_scales(const at::Tensor& amax, Fp8Format format) {
  const at::Tensor exponent = std::get<1>(at::frexp(amax)) - 1;
  const int64_t largest = format == Fp8Format::kE4M3FN ? 8 : 15;
  const at::Tensor limited = (exponent - largest).clamp_min(-100);
  return at::ldexp(at::ones_like(amax), limited);
}

// As fp8_scale_of and fp8_block_scale_of have them.
at::Tensor scales_of(const at::Tensor& amax, Fp8Format format, bool powers_of_two) {
  const at::Tensor scales = powers_of_two
                                ? block_scales(amax, format)
                                : (amax / fp8_largest(format)).clamp_min(kFp8SmallestScale);
  return scales.masked_fill(amax.eq(0), 1.0);
}

[[noreturn]] void refuse(const at::Tensor& streams_STD, int64_t stream, int64_t token,
                         int64_t channel) {
  TORCH_CHECK(false, "Fp8Quantizer::quantise: expected finite values, got ",
              streams_STD[stream][token][channel].item<float>(), " in stream ", stream, ", token ",
              token, ", channel ", channel,
              ". FP8 has no codes for them that a certificate could cover");
}

void check_finite(const at::Tensor& streams_STD) {
  const at::Tensor finite = streams_STD.isfinite();
  if (finite.all().item<bool>()) return;
  const at::Tensor place = finite.logical_not().nonzero()[0];
  refuse(streams_STD, place[0].item<int64_t>(), place[1].item<int64_t>(), place[2].item<int64_t>());
}

bool is_plain(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.is_cpu() && tensor.is_contiguous() && tensor.scalar_type() == type;
}

// Elements of one stream of a tensor whose streams follow each other.
template <class Type>
std::span<Type> stream_of(const at::Tensor& tensor, int64_t stream) {
  const int64_t count = tensor.numel() / tensor.size(0);
  return {static_cast<Type*>(tensor.data_ptr()) + stream * count, static_cast<size_t>(count)};
}

}  // namespace

Fp8Quantizer::Fp8Quantizer(Fp8Format format, ScaleGranularity granularity, int64_t num_kv_heads)
    : format_(format), granularity_(granularity), num_kv_heads_(num_kv_heads) {
  TORCH_CHECK(num_kv_heads >= 1, "Fp8Quantizer: expected at least 1 kv head, got ", num_kv_heads);
}

at::Tensor Fp8Quantizer::grouped(const at::Tensor& streams_STD) const {
  if (granularity_ != ScaleGranularity::kBlock32)
    return streams_STD.unflatten(2, {num_kv_heads_, -1});
  const int64_t missing = (kBlock - streams_STD.size(2) % kBlock) % kBlock;
  return at::constant_pad_nd(streams_STD, {0, missing}).unflatten(2, {-1, kBlock});
}

at::Tensor Fp8Quantizer::ungrouped(const at::Tensor& grouped, int64_t width) const {
  return grouped.flatten(2).narrow(2, 0, width);
}

Fp8Layout Fp8Quantizer::layout_of(const at::Tensor& streams_STD) const {
  const bool blocks = granularity_ == ScaleGranularity::kBlock32;
  const int64_t heads = blocks ? 1 : num_kv_heads_;
  return {.tokens = static_cast<size_t>(streams_STD.size(1)),
          .num_kv_heads = static_cast<size_t>(heads),
          .head_dim = static_cast<size_t>(streams_STD.size(2) / heads),
          .granularity = granularity_,
          .format = format_};
}

std::vector<int64_t> Fp8Quantizer::scale_sizes(const at::Tensor& streams_STD) const {
  const int64_t streams = streams_STD.size(0), tokens = streams_STD.size(1);
  const int64_t width = streams_STD.size(2);
  switch (granularity_) {
    case ScaleGranularity::kTensor:
      return {streams, 1, 1, 1};
    case ScaleGranularity::kHead:
      return {streams, 1, num_kv_heads_, 1};
    case ScaleGranularity::kToken:
      return {streams, tokens, 1, 1};
    case ScaleGranularity::kChannel:
      return {streams, 1, num_kv_heads_, width / num_kv_heads_};
    case ScaleGranularity::kBlock32:
      return {streams, tokens, (width + kBlock - 1) / kBlock, 1};
  }
  return {};
}

Fp8Streams Fp8Quantizer::quantise_plain(const at::Tensor& streams_STD) const {
  const int64_t streams = streams_STD.size(0), width = streams_STD.size(2);
  const Fp8Layout layout = layout_of(streams_STD);
  const at::Tensor codes = at::empty_like(streams_STD, streams_STD.options().dtype(at::kByte));
  const at::Tensor scales = at::empty(scale_sizes(streams_STD), streams_STD.options());
  std::vector<Fp8Result> results(streams);
  at::parallel_for(0, streams, /*grain_size=*/1, [&](int64_t first, int64_t last) {
    for (int64_t s = first; s < last; ++s) {
      results[s] = fast::quantise_fp8(layout, stream_of<const float>(streams_STD, s),
                                      stream_of<float>(scales, s), stream_of<uint8_t>(codes, s));
    }
  });
  int64_t saturated = 0, flushed = 0;
  for (int64_t s = 0; s < streams; ++s) {
    const auto index = static_cast<int64_t>(results[s].index);
    if (!results[s].ok()) refuse(streams_STD, s, index / width, index % width);
    saturated += static_cast<int64_t>(results[s].saturated);
    flushed += static_cast<int64_t>(results[s].flushed);
  }
  return {.codes_STD = codes,
          .scales = scales,
          .saturated = at::scalar_tensor(saturated, at::kLong),
          .flushed = at::scalar_tensor(flushed, at::kLong)};
}

bool Fp8Quantizer::dequantise_plain(const Fp8Streams& sent, const at::Tensor& arrived_STD) const {
  const Fp8Layout layout = layout_of(sent.codes_STD);
  std::atomic<bool> ok = true;
  at::parallel_for(0, arrived_STD.size(0), /*grain_size=*/1, [&](int64_t first, int64_t last) {
    for (int64_t s = first; s < last; ++s) {
      const Fp8Result result = fast::dequantise_fp8(
          layout, stream_of<const uint8_t>(sent.codes_STD, s),
          stream_of<const float>(sent.scales, s), stream_of<float>(arrived_STD, s));
      if (!result.ok()) ok = false;
    }
  });
  return ok;
}

Fp8Streams Fp8Quantizer::quantise(const at::Tensor& streams_STD) const {
  TORCH_CHECK(streams_STD.dim() == 3 && streams_STD.scalar_type() == at::kFloat &&
                  streams_STD.size(2) % num_kv_heads_ == 0 && streams_STD.numel() > 0,
              "Fp8Quantizer::quantise: expected float32 [streams, tokens, width] of ",
              num_kv_heads_, " kv heads, got ", streams_STD.scalar_type(), " ",
              streams_STD.sizes());
  const at::NoGradGuard no_gradients;
  if (is_plain(streams_STD, at::kFloat)) return quantise_plain(streams_STD);
  check_finite(streams_STD);
  const at::Tensor values = grouped(streams_STD);
  const at::Tensor amax = values.abs().amax(shared_dimensions(granularity_), /*keepdim=*/true);
  const at::Tensor scales = scales_of(amax, format_, granularity_ == ScaleGranularity::kBlock32);
  const double largest = fp8_largest(format_);
  const at::Tensor quotients = values / scales;
  const at::Tensor codes = quotients.clamp(-largest, largest).to(dtype_of(format_)).view(at::kByte);
  // A tie with what would come next goes to the even code: E4M3FN's largest is even, E5M2's odd.
  const at::Tensor saturated =
      format_ == Fp8Format::kE4M3FN ? quotients.abs().gt(464) : quotients.abs().ge(61440);
  const at::Tensor flushed = codes.bitwise_and(0x7F).eq(0).logical_and(values.ne(0));
  return {.codes_STD = ungrouped(codes, streams_STD.size(2)),
          .scales = scales,
          .saturated = saturated.sum(),
          .flushed = flushed.sum()};
}

at::Tensor Fp8Quantizer::dequantise(const Fp8Streams& sent) const {
  const at::NoGradGuard no_gradients;
  if (is_plain(sent.codes_STD, at::kByte) && is_plain(sent.scales, at::kFloat) &&
      sent.codes_STD.numel() > 0 && sent.scales.sizes() == scale_sizes(sent.codes_STD)) {
    const at::Tensor arrived_STD = at::empty_like(sent.codes_STD, sent.scales.options());
    // Codes that are no numbers, and scales that are none, are the expression's to decode.
    if (dequantise_plain(sent, arrived_STD)) return arrived_STD;
  }
  const at::Tensor codes = grouped(sent.codes_STD).contiguous();
  return ungrouped(codes.view(dtype_of(format_)).to(at::kFloat) * sent.scales,
                   sent.codes_STD.size(2));
}

at::Tensor Fp8Quantizer::round_trip(const at::Tensor& streams_STD) const {
  const at::Tensor fixed = streams_STD.detach();
  const at::Tensor arrived = dequantise(quantise(fixed));
  return streams_STD.requires_grad() ? streams_STD + (arrived - fixed) : arrived;
}

int64_t Fp8Quantizer::bytes_per_token(int64_t width) const {
  if (granularity_ == ScaleGranularity::kToken) return width + 4;
  if (granularity_ == ScaleGranularity::kBlock32) return width + (width + kBlock - 1) / kBlock;
  return width;
}

}  // namespace kvalign
