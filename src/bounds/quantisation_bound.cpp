// Bounds of the FP8 error from codes or from magnitudes. See quantisation_bound.h.
#include "kvalign/bounds/quantisation_bound.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "check.h"

namespace kvalign {
namespace {

constexpr double kFloat32Rounding = 0x1p-22;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

double magnitude_of_code(uint32_t code, Fp8Format format) {
  return std::abs(static_cast<double>(decode_fp8(static_cast<uint8_t>(code), format)));
}

// Of the largest code where values reach the next power of two, as they do in OCP MX blocks.
double top_gap_of_blocks(Fp8Format format) {
  int exponent = 0;
  std::frexp(fp8_largest(format), &exponent);
  return std::ldexp(1.0, exponent) - fp8_largest(format);
}

// Of each finite code without its sign: half its gap, and float32's rounding, in units of the
// scale.
using CodeTable = std::array<double, 128>;

CodeTable bounds_of_codes(Fp8Format format, bool blocks, ScaleOrigin origin) {
  CodeTable bounds = {};
  for (uint32_t code = 0; code <= fp8_largest_code(format); ++code) {
    const bool top = code == fp8_largest_code(format);
    const double gap = top && blocks ? top_gap_of_blocks(format)
                                     : fp8_half_gap(static_cast<uint8_t>(code), format);
    bounds[code] = top && origin == ScaleOrigin::kEarlier
                       ? kInfinity
                       : gap + kFloat32Rounding * (magnitude_of_code(code, format) + gap);
  }
  return bounds;
}

// Made once: a server asks for them with each request.
const CodeTable& table_of(Fp8Format format, bool blocks, ScaleOrigin origin) {
  static const auto tables = [] {
    std::array<CodeTable, 8> all;
    size_t next = 0;
    for (const Fp8Format each : {Fp8Format::kE4M3FN, Fp8Format::kE5M2}) {
      for (const bool in_blocks : {false, true}) {
        for (const ScaleOrigin scales : {ScaleOrigin::kOwnAmax, ScaleOrigin::kEarlier}) {
          all[next++] = bounds_of_codes(each, in_blocks, scales);
        }
      }
    }
    return all;
  }();
  return tables[4 * (format == Fp8Format::kE5M2) + 2 * blocks + (origin == ScaleOrigin::kEarlier)];
}

void check_buffers(const Fp8Layout& layout, std::span<const uint8_t> codes,
                   std::span<const float> scales) {
  check(check_fp8_sizes(layout, codes.size(), codes.size(), scales.size()).ok(),
        "certify_codes: expected ", layout.tokens, " x ", layout.num_kv_heads, " x ",
        layout.head_dim, " codes and ", num_fp8_scales(layout), " scales, got ", codes.size(),
        " and ", scales.size(), ". Were they encoded with another layout?");
  const Fp8Result checked = check_fp8_scales(layout, scales.data());
  check(checked.ok(), "certify_codes: expected scales of the encoder, got ",
        checked.ok() ? 0 : scales[checked.index], " at ", checked.index,
        ". Read them from the packet again");
}

}  // namespace

double fp8_half_gap(uint8_t code, Fp8Format format) {
  // The gap above a value is at least the one below it; the largest has none above.
  const uint32_t lower = std::min<uint32_t>(code & 0x7F, fp8_largest_code(format) - 1);
  return (magnitude_of_code(lower + 1, format) - magnitude_of_code(lower, format)) / 2;
}

CodeBounds certify_codes(const Fp8Layout& layout, std::span<const uint8_t> codes,
                         std::span<const float> scales, ScaleOrigin origin) {
  check_buffers(layout, codes, scales);
  const bool blocks = layout.granularity == ScaleGranularity::kBlock32;
  const CodeTable& unscaled = table_of(layout.format, blocks, origin);
  CodeBounds result{.bounds = Eigen::VectorXd(static_cast<Eigen::Index>(codes.size()))};
  size_t element = 0;
  for (size_t token = 0; token < layout.tokens; ++token) {
    for (size_t head = 0; head < layout.num_kv_heads; ++head) {
      for (size_t channel = 0; channel < layout.head_dim; ++channel, ++element) {
        const uint8_t code = codes[element];
        check(is_finite_fp8(code, layout.format), "certify_codes: expected codes of numbers, got ",
              int{code}, " at ", element,
              ", which is NaN or Inf. The encoder makes none: refuse it");
        const double scale = scales[fp8_scale_index(layout, token, head, channel)];
        const double bound = scale * unscaled[code & 0x7F];
        result.bounds[static_cast<Eigen::Index>(element)] = bound;
        result.num_unbounded += bound == kInfinity;
      }
    }
  }
  return result;
}

Certified a_priori_token_bound(const TokenMagnitude& token, float scale, Fp8Format format) {
  check(token.norm >= 0 && token.amax >= 0 && token.width >= 0 && std::isfinite(token.norm) &&
            std::isfinite(token.amax),
        "a_priori_token_bound: expected a finite norm, amax and width >= 0, got ", token.norm, ", ",
        token.amax, " and ", token.width);
  check(is_fp8_scale(scale, format), "a_priori_token_bound: expected an FP8 scale, got ", scale,
        ". Use fp8_scale_of(amax)");
  const double u = std::ldexp(1.0, -fp8_mantissa_bits(format) - 1);
  const double eta = magnitude_of_code(1, format);
  const double largest = static_cast<double>(scale) * fp8_largest(format);
  const auto width = static_cast<double>(token.width);
  const double relative = u / (1 + u) * token.norm;
  const double floor = std::sqrt(width) * scale * eta / 2;
  const double top_gap = fp8_half_gap(static_cast<uint8_t>(fp8_largest_code(format)), format);
  double clipped = 0;
  if (token.amax > largest) {
    const double elements = std::min(width, std::pow(token.norm / largest, 2));
    clipped = std::sqrt(raised(elements, 4)) * raised(token.amax - largest, 2);
  }
  const double float32 = kFloat32Rounding * (token.norm + clipped);
  const double of_norm = std::hypot(relative, floor, clipped) + float32;
  const double every = token.amax > largest
                           ? kInfinity
                           : std::sqrt(width) * scale *
                                 (top_gap + kFloat32Rounding * (fp8_largest(format) + top_gap));
  return Certified(raised(std::min(of_norm, every), 16));
}

}  // namespace kvalign
