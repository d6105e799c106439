// Tensors as runs of contiguous elements for the row kernels, once for each instruction set that
// Highway knows. SVE would need kernels of its own; such CPUs have NEON.
#include "kvalign/ops/fp8_codec.h"

#define HWY_WANT_AVX3_DL  // AVX-512 with VBMI, beside AVX-512 without
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/ops/fp8_codec.cpp"
#include <hwy/foreach_target.h>  // compiles what follows once a target
#include <hwy/highway.h>

#include "kvalign/format/fp8_scale.h"
#include "src/ops/fp8_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvalign {
namespace HWY_NAMESPACE {
namespace {

// Contiguous elements that share a scale, or that have one each (channels).
struct Run {
  size_t first, count;
  size_t scale;  // index of the scale, or of the first one
};

// visit(run) in the order of the elements while it returns true; false where it did not.
template <class Visit>
HWY_INLINE bool for_each_run(const Fp8Layout& layout, const Visit& visit) {
  constexpr size_t kTile = 4096;  // elements that are still cached when they are read again
  const size_t width = layout.num_kv_heads * layout.head_dim;
  const size_t elements = layout.tokens * width;
  size_t row = width, length = width, num_scales = 1;  // channels
  switch (layout.granularity) {
    case ScaleGranularity::kTensor:
      row = elements;
      length = kTile;
      break;
    case ScaleGranularity::kHead:
      row = length = layout.head_dim;
      num_scales = layout.num_kv_heads;  // taken in turn by each token
      break;
    case ScaleGranularity::kToken:
      num_scales = layout.tokens;
      break;
    case ScaleGranularity::kBlock32:
      row = layout.head_dim;
      length = kFp8BlockSize;
      num_scales = num_fp8_scales(layout);
      break;
    case ScaleGranularity::kChannel:
      break;
  }
  size_t scale = 0;
  for (size_t start = 0; start < elements; start += row) {
    for (size_t place = 0; place < row; place += length) {
      if (!visit(Run{start + place, std::min(length, row - place), scale})) return false;
      if (++scale == num_scales) scale = 0;
    }
  }
  return true;
}

constexpr uint32_t kInfinity = 0x7F800000;  // bits; NaN is above

Fp8Result first_not_finite(const float* values) {
  Fp8Result result;
  result.status = Fp8Status::kNotFinite;
  while ((bits_of_float(values[result.index]) & 0x7FFFFFFF) < kInfinity) ++result.index;
  return result;
}

float scale_of(float amax, const Fp8Layout& layout) {
  return layout.granularity == ScaleGranularity::kBlock32 ? fp8_block_scale_of(amax, layout.format)
                                                          : fp8_scale_of(amax, layout.format);
}

Fp8Result choose(const Fp8Layout& layout, const float* values, float* scales) {
  const size_t num_scales = num_fp8_scales(layout);
  std::fill_n(scales, num_scales, 0.0f);  // each group's amax, while it is being found
  const bool each = layout.granularity == ScaleGranularity::kChannel;
  const bool finite = for_each_run(layout, [&](const Run& run) HWY_ATTR {
    if (each) {
      update_amax_each(values + run.first, run.count, scales);
      return true;
    }
    const uint32_t amax = amax_bits(values + run.first, run.count);
    float& scale = scales[run.scale];
    scale = float_of_bits(std::max(bits_of_float(scale), amax));
    return amax < kInfinity;
  });
  if (!finite || amax_bits(scales, num_scales) >= kInfinity) return first_not_finite(values);
  for (size_t i = 0; i < num_scales; ++i) scales[i] = scale_of(scales[i], layout);
  return {};
}

// `own_scales`: they are those that choose() makes of the values.
template <Fp8Format format, bool own_scales>
HWY_INLINE void encode_run(const Fp8Layout& layout, const Run& run, const float* values,
                           const float* scales, uint8_t* codes, Fp8Result& result) {
  values += run.first;
  codes += run.first;
  const float scale = scales[run.scale];
  if (layout.granularity == ScaleGranularity::kChannel) {
    encode_row<format, !own_scales>(values, run.count, ScaleEach{scales}, codes, result);
  } else if (layout.granularity == ScaleGranularity::kBlock32) {
    encode_row<format, true>(values, run.count, PowerOfTwoScale(scale), codes, result);
  } else {
    encode_row<format, !own_scales>(values, run.count, OneScale{scale}, codes, result);
  }
}

template <Fp8Format format>
Fp8Result encode_runs(const Fp8Layout& layout, const float* values, const float* scales,
                      uint8_t* codes) {
  Fp8Result result;
  const bool finite = for_each_run(layout, [&](const Run& run) HWY_ATTR {
    if (amax_bits(values + run.first, run.count) >= kInfinity) return false;
    encode_run<format, false>(layout, run, values, scales, codes, result);
    return true;
  });
  return finite ? result : first_not_finite(values);
}

Fp8Result encode(const Fp8Layout& layout, const float* values, const float* scales,
                 uint8_t* codes) {
  return layout.format == Fp8Format::kE4M3FN
             ? encode_runs<Fp8Format::kE4M3FN>(layout, values, scales, codes)
             : encode_runs<Fp8Format::kE5M2>(layout, values, scales, codes);
}

// Where groups are runs, each is read for its amax and encoded while it is cached.
template <Fp8Format format>
Fp8Result quantise_runs(const Fp8Layout& layout, const float* values, float* scales,
                        uint8_t* codes) {
  const bool groups_are_runs = layout.granularity == ScaleGranularity::kToken ||
                               layout.granularity == ScaleGranularity::kBlock32;
  if (!groups_are_runs || layout.num_kv_heads * layout.head_dim == 0) {
    const Fp8Result chosen = choose(layout, values, scales);
    if (!chosen.ok()) return chosen;
  }
  Fp8Result result;
  const bool finite = for_each_run(layout, [&](const Run& run) HWY_ATTR {
    if (groups_are_runs) {
      const uint32_t amax = amax_bits(values + run.first, run.count);
      if (amax >= kInfinity) return false;
      scales[run.scale] = scale_of(float_of_bits(amax), layout);
    }
    encode_run<format, true>(layout, run, values, scales, codes, result);
    return true;
  });
  return finite ? result : first_not_finite(values);
}

Fp8Result quantise(const Fp8Layout& layout, const float* values, float* scales, uint8_t* codes) {
  return layout.format == Fp8Format::kE4M3FN
             ? quantise_runs<Fp8Format::kE4M3FN>(layout, values, scales, codes)
             : quantise_runs<Fp8Format::kE5M2>(layout, values, scales, codes);
}

template <Fp8Format format, class Output>
Fp8Result decode_runs(const Fp8Layout& layout, const uint8_t* codes, const float* scales,
                      Output* values) {
  const bool each = layout.granularity == ScaleGranularity::kChannel;
  const bool finite = for_each_run(layout, [&](const Run& run) HWY_ATTR {
    const uint8_t* run_codes = codes + run.first;
    if (!codes_are_finite<format>(run_codes, run.count)) return false;
    if (each) {
      decode_row<format>(run_codes, run.count, ScaleEach{scales}, values + run.first);
    } else {
      decode_row<format>(run_codes, run.count, OneScale{scales[run.scale]}, values + run.first);
    }
    return true;
  });
  Fp8Result result;
  if (finite) return result;
  result.status = Fp8Status::kNotFinite;
  while (is_finite_fp8(codes[result.index], format)) ++result.index;
  return result;
}

template <class Output>
Fp8Result decode(const Fp8Layout& layout, const uint8_t* codes, const float* scales,
                 Output* values) {
  return layout.format == Fp8Format::kE4M3FN
             ? decode_runs<Fp8Format::kE4M3FN>(layout, codes, scales, values)
             : decode_runs<Fp8Format::kE5M2>(layout, codes, scales, values);
}

Fp8Result decode_float(const Fp8Layout& layout, const uint8_t* codes, const float* scales,
                       float* values) {
  return decode(layout, codes, scales, values);
}
Fp8Result decode_bfloat16(const Fp8Layout& layout, const uint8_t* codes, const float* scales,
                          Bfloat16* values) {
  return decode(layout, codes, scales, values);
}
Fp8Result decode_float16(const Fp8Layout& layout, const uint8_t* codes, const float* scales,
                         Float16* values) {
  return decode(layout, codes, scales, values);
}

const char* name() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kvalign
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvalign {

HWY_EXPORT(name);
HWY_EXPORT(choose);
HWY_EXPORT(encode);
HWY_EXPORT(quantise);
HWY_EXPORT(decode_float);
HWY_EXPORT(decode_bfloat16);
HWY_EXPORT(decode_float16);

namespace fast {
namespace {

// kOk where the buffers have the layout's sizes and the scales are scales.
Fp8Result check(const Fp8Layout& layout, size_t num_values, size_t num_codes,
                std::span<const float> scales) {
  const Fp8Result sizes = check_fp8_sizes(layout, num_values, num_codes, scales.size());
  return sizes.ok() ? check_fp8_scales(layout, scales.data()) : sizes;
}

}  // namespace

const char* instruction_set() noexcept {
  return HWY_DYNAMIC_DISPATCH(name)();
}

Fp8Result choose_fp8_scales(const Fp8Layout& layout, std::span<const float> values,
                            std::span<float> scales) noexcept {
  const Fp8Result sizes = check_fp8_sizes(layout, values.size(), values.size(), scales.size());
  if (!sizes.ok()) return sizes;
  return HWY_DYNAMIC_DISPATCH(choose)(layout, values.data(), scales.data());
}

Fp8Result encode_fp8(const Fp8Layout& layout, std::span<const float> values,
                     std::span<const float> scales, std::span<uint8_t> codes) noexcept {
  const Fp8Result checked = check(layout, values.size(), codes.size(), scales);
  if (!checked.ok()) return checked;
  return HWY_DYNAMIC_DISPATCH(encode)(layout, values.data(), scales.data(), codes.data());
}

Fp8Result quantise_fp8(const Fp8Layout& layout, std::span<const float> values,
                       std::span<float> scales, std::span<uint8_t> codes) noexcept {
  const Fp8Result sizes = check_fp8_sizes(layout, values.size(), codes.size(), scales.size());
  if (!sizes.ok()) return sizes;
  return HWY_DYNAMIC_DISPATCH(quantise)(layout, values.data(), scales.data(), codes.data());
}

Fp8Result dequantise_fp8(const Fp8Layout& layout, std::span<const uint8_t> codes,
                         std::span<const float> scales, std::span<float> values) noexcept {
  const Fp8Result checked = check(layout, values.size(), codes.size(), scales);
  if (!checked.ok()) return checked;
  return HWY_DYNAMIC_DISPATCH(decode_float)(layout, codes.data(), scales.data(), values.data());
}
Fp8Result dequantise_fp8(const Fp8Layout& layout, std::span<const uint8_t> codes,
                         std::span<const float> scales, std::span<Bfloat16> values) noexcept {
  const Fp8Result checked = check(layout, values.size(), codes.size(), scales);
  if (!checked.ok()) return checked;
  return HWY_DYNAMIC_DISPATCH(decode_bfloat16)(layout, codes.data(), scales.data(), values.data());
}
Fp8Result dequantise_fp8(const Fp8Layout& layout, std::span<const uint8_t> codes,
                         std::span<const float> scales, std::span<Float16> values) noexcept {
  const Fp8Result checked = check(layout, values.size(), codes.size(), scales);
  if (!checked.ok()) return checked;
  return HWY_DYNAMIC_DISPATCH(decode_float16)(layout, codes.data(), scales.data(), values.data());
}

}  // namespace fast
}  // namespace kvalign
#endif
