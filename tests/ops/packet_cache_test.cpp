// Packets of quantised streams against what the quantizer says that arrives.
#include "kvalign/ops/packet_cache.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/format/fp8_scale.h"
#include "kvalign/format/packet_writer.h"
#include "kvalign/ops/fp8_quantizer.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;
using Bytes = std::vector<uint8_t>;

constexpr int64_t kLayers = 2, kTokens = 7, kHeads = 2, kWidth = 80;
constexpr int64_t kStreams = 2 * kLayers;
const std::vector<int32_t> kSinks = {5, 6}, kReread = {9, 8, 7};

Bytes bytes_of(const at::Tensor& tensor) {
  const at::Tensor whole = tensor.contiguous();
  const auto* data = static_cast<const uint8_t*>(whole.const_data_ptr());
  return Bytes(data, data + whole.nbytes());
}

PacketHeader header_of(PacketElement element, PacketScales scales) {
  PacketHeader header;
  header.element = element;
  header.scales = scales;
  header.num_layers = kLayers;
  header.num_kv_heads = kHeads;
  header.head_dim = kWidth / kHeads;
  header.num_tokens = static_cast<uint32_t>(kTokens + kSinks.size() + kReread.size());
  header.chunk_tokens = 3;
  header.num_sinks = static_cast<uint32_t>(kSinks.size());
  header.num_reread = static_cast<uint32_t>(kReread.size());
  return header;
}

// `codes_TSd` and `scales_T` hold what belongs to each token, as bytes.
Bytes packet_of(const PacketHeader& header, const Bytes& static_scales, const at::Tensor& codes_TSd,
                const at::Tensor& scales_T) {
  Bytes bytes(1 << 20);
  PacketBuffer buffer{bytes.data(), bytes.size(), 0};
  PacketWriter writer;
  const auto expect_ok = [](PacketStatus status) {
    EXPECT_EQ(status, PacketStatus::kOk) << packet_status_text(status);
  };
  expect_ok(writer.begin(
      header, {{static_scales.data(), static_scales.size()}, {kSinks.data(), kSinks.size()}},
      buffer));
  for (int64_t token = 0; token < kTokens; token += header.chunk_tokens) {
    const int64_t count = std::min<int64_t>(header.chunk_tokens, kTokens - token);
    const Bytes codes = bytes_of(codes_TSd.narrow(0, token, count));
    const Bytes scales = scales_T.defined() ? bytes_of(scales_T.narrow(0, token, count)) : Bytes();
    expect_ok(
        writer.chunk({{}, {scales.data(), scales.size()}, {codes.data(), codes.size()}}, buffer));
  }
  expect_ok(writer.finish({kReread.data(), kReread.size()}, buffer));
  bytes.resize(buffer.size);
  return bytes;
}

PacketCache read(const Bytes& bytes) {
  return read_packet_cache({bytes.data(), bytes.size()}, "test.kvp");
}

at::Tensor e8m0(const at::Tensor& scales) {
  at::Tensor codes = at::empty(scales.sizes(), at::kByte);
  for (int64_t i = 0; i < scales.numel(); ++i) {
    codes.view(-1)[i] = encode_e8m0(scales.reshape(-1)[i].item<float>());
  }
  return codes;
}

TEST(PacketCache, ReadsWhatTheQuantizerMade) {
  const at::Tensor streams_STD = golden_fill({kStreams, kTokens, kWidth}, 3, 2.0);
  for (const Fp8Format format : {Fp8Format::kE4M3FN, Fp8Format::kE5M2}) {
    const auto element =
        format == Fp8Format::kE4M3FN ? PacketElement::kE4M3FN : PacketElement::kE5M2;
    const auto check = [&](ScaleGranularity granularity, PacketScales scales) {
      const Fp8Quantizer quantizer(format, granularity, kHeads);
      const Fp8Streams sent = quantizer.quantise(streams_STD);
      const bool travels = scales == PacketScales::kToken || scales == PacketScales::kBlock32;
      at::Tensor token_scales;
      if (travels) token_scales = sent.scales.flatten(2).transpose(0, 1).contiguous();
      if (scales == PacketScales::kBlock32) token_scales = e8m0(token_scales);
      const Bytes packet =
          packet_of(header_of(element, scales), travels ? Bytes() : bytes_of(sent.scales),
                    sent.codes_STD.transpose(0, 1), token_scales);
      const PacketCache cache = read(packet);
      EXPECT_TRUE(at::equal(cache.streams_STD, quantizer.dequantise(sent)))
          << static_cast<int>(granularity);
      EXPECT_EQ(cache.sink_token_ids, kSinks);
      EXPECT_EQ(cache.reread_token_ids, kReread);
      EXPECT_TRUE(cache.coded_token_ids.empty());
    };
    check(ScaleGranularity::kTensor, PacketScales::kTensor);
    check(ScaleGranularity::kHead, PacketScales::kHead);
    check(ScaleGranularity::kToken, PacketScales::kToken);
    check(ScaleGranularity::kChannel, PacketScales::kChannel);
    check(ScaleGranularity::kBlock32, PacketScales::kBlock32);
  }
}

TEST(PacketCache, ReadsWiderTypesAsTheyAre) {
  const at::Tensor streams_STD = golden_fill({kStreams, kTokens, kWidth}, 3, 2.0);
  const auto check = [&](PacketElement element, at::ScalarType dtype) {
    const at::Tensor sent = streams_STD.to(dtype);
    const Bytes packet =
        packet_of(header_of(element, PacketScales::kNone), {}, sent.transpose(0, 1), at::Tensor());
    EXPECT_TRUE(at::equal(read(packet).streams_STD, sent.to(at::kFloat)));
  };
  check(PacketElement::kF16, at::kHalf);
  check(PacketElement::kBF16, at::kBFloat16);
  check(PacketElement::kF32, at::kFloat);
}

TEST(PacketCache, RefusesDamageScalesAndCodesThatAreNone) {
  const at::Tensor codes = at::zeros({kTokens, kStreams, kWidth}, at::kByte);
  const PacketHeader header = header_of(PacketElement::kE5M2, PacketScales::kTensor);
  const at::Tensor scales = at::ones({kStreams});
  Bytes packet = packet_of(header, bytes_of(scales), codes, at::Tensor());
  EXPECT_NO_THROW(read(packet));
  packet[300] ^= 1;
  EXPECT_THROWS_WITH(read(packet), "test.kvp: ");
  scales[2] = 0;
  EXPECT_THROWS_WITH(read(packet_of(header, bytes_of(scales), codes, at::Tensor())),
                     "test.kvp: scale 2: expected a number from 2^-100 on");
  scales[2] = 1;
  codes[6][3][79] = 0x7C;  // Inf
  EXPECT_THROWS_WITH(read(packet_of(header, bytes_of(scales), codes, at::Tensor())),
                     "expected finite codes");
}

TEST(PacketCache, GeometriesHaveIdsOfTheirOwn) {
  const KvGeometry one{.model = "a", .num_layers = 2, .num_kv_heads = 2, .head_dim = 40};
  KvGeometry other = one;
  other.head_dim = 80;
  EXPECT_EQ(packet_geometry_id(one), packet_geometry_id(one));
  EXPECT_NE(packet_geometry_id(one), packet_geometry_id(other));
}

}  // namespace
}  // namespace kvalign
