// Names, and caches one after the other. See the header.
#include "kvalign/ops/fp8_wire.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>

#include "kvalign/ops/fp8_quantizer.h"

namespace kvalign {
namespace {

// In the order of ScaleGranularity.
constexpr const char* kGranularities[] = {"tensor", "head", "token", "channel", "block32"};
constexpr const char* kFormats[] = {"float8_e4m3fn", "float8_e5m2"};  // of Fp8Format

}  // namespace

const std::vector<std::string>& fp8_wire_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const char* format : kFormats) {
      for (const char* granularity : kGranularities) {
        all.push_back(std::string(format) + "/" + granularity);
      }
    }
    return all;
  }();
  return names;
}

Fp8Wire parse_fp8_wire(const std::string& name) {
  const std::vector<std::string>& names = fp8_wire_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    std::string known;
    for (const std::string& other : names) known += (known.empty() ? "" : ", ") + other;
    throw std::invalid_argument("expected a type in which a cache is sent (" + known + "), got \"" +
                                name + "\"");
  }
  const auto place = static_cast<size_t>(found - names.begin());
  const size_t count = std::size(kGranularities);
  return {.format = static_cast<Fp8Format>(place / count),
          .granularity = static_cast<ScaleGranularity>(place % count)};
}

const std::string& fp8_wire_name(const Fp8Wire& wire) {
  return fp8_wire_names()[static_cast<size_t>(wire.format) * std::size(kGranularities) +
                          static_cast<size_t>(wire.granularity)];
}

at::Tensor send_caches(const Fp8Wire& wire, const at::Tensor& streams_STD,
                       const at::Tensor& sequence_offsets_B, int64_t num_kv_heads) {
  const auto* offsets = sequence_offsets_B.const_data_ptr<int64_t>();
  std::vector<at::Tensor> arrived;
  for (int64_t b = 0; b + 1 < sequence_offsets_B.numel(); ++b) {
    arrived.push_back(send_cache(
        wire, streams_STD.narrow(1, offsets[b], offsets[b + 1] - offsets[b]), num_kv_heads));
  }
  return at::cat(arrived, 1);
}

at::Tensor send_cache(const Fp8Wire& wire, const at::Tensor& streams_STD, int64_t num_kv_heads) {
  return Fp8Quantizer(wire.format, wire.granularity, num_kv_heads).round_trip(streams_STD);
}

Fp8WireBytes fp8_wire_bytes(const Fp8Wire& wire, int64_t num_streams, int64_t width,
                            int64_t num_kv_heads) {
  const Fp8Quantizer quantizer(wire.format, wire.granularity, num_kv_heads);
  const bool travel_with_tokens = wire.granularity == ScaleGranularity::kToken ||
                                  wire.granularity == ScaleGranularity::kBlock32;
  const Fp8Layout token{.tokens = 1,
                        .num_kv_heads = static_cast<size_t>(num_kv_heads),
                        .head_dim = static_cast<size_t>(width / num_kv_heads),
                        .granularity = wire.granularity,
                        .format = wire.format};
  const auto scales_once =
      travel_with_tokens ? int64_t{0} : static_cast<int64_t>(num_fp8_scales(token));
  return {.per_token = num_streams * quantizer.bytes_per_token(width),
          .once = num_streams * scales_once * static_cast<int64_t>(sizeof(float))};
}

}  // namespace kvalign
