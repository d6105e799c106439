// Packets from tensors and back: the codec's numbers come out, and mistakes are named.
#include "kvalign/core/packet_tensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/files.h"
#include "kvalign/format/fp8_quantise.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

constexpr int64_t kTokens = 9, kWidth = 12;

KvGeometry geometry() {
  return {.model = "small", .num_layers = 2, .num_kv_heads = 2, .head_dim = 6};
}

at::Tensor streams() {
  return golden_fill({4, kTokens, kWidth}, 1, 50.0);
}

at::Tensor token_ids() {
  return at::arange(100, 100 + kTokens, at::kInt);
}

// [T, M, W] as [M, T, W].
at::Tensor decoded(const EncodedPacket& packet) {
  return decode_packet(packet.bytes).values_TMW.transpose(0, 1).contiguous();
}

TEST(PacketTensors, Float32ComesBackAsItWas) {
  const EncodedPacket packet =
      encode_packet(geometry(), streams(), {}, {.element = "f32", .chunk_tokens = 4});
  EXPECT_TRUE(decoded(packet).equal(streams()));
}

TEST(PacketTensors, HalvesAreRoundedAsLibTorchRounds) {
  const std::pair<const char*, at::ScalarType> types[] = {{"f16", at::kHalf},
                                                          {"bf16", at::kBFloat16}};
  for (const auto& [element, dtype] : types) {
    const at::Tensor rounded = streams().to(dtype);
    EXPECT_TRUE(decoded(encode_packet(geometry(), streams(), {}, {.element = element}))
                    .equal(rounded.to(at::kFloat)));
    // And are read as they are.
    EXPECT_TRUE(decoded(encode_packet(geometry(), rounded, {}, {.element = "f32"}))
                    .equal(rounded.to(at::kFloat)));
  }
}

TEST(PacketTensors, Fp8ComesBackAsTheCodecsValues) {
  struct Case {
    const char* scales;
    ScaleGranularity granularity;
    bool by_head;
  };
  const at::Tensor sent = streams();
  for (const Case& one :
       {Case{"tensor", ScaleGranularity::kTensor, true},
        Case{"head", ScaleGranularity::kHead, true}, Case{"token", ScaleGranularity::kToken, true},
        Case{"channel", ScaleGranularity::kChannel, true},
        Case{"block32", ScaleGranularity::kBlock32, false}}) {
    for (const auto& [element, format] :
         {std::pair{"e4m3fn", Fp8Format::kE4M3FN}, std::pair{"e5m2", Fp8Format::kE5M2}}) {
      const EncodedPacket packet = encode_packet(
          geometry(), sent, {}, {.element = element, .scales = one.scales, .chunk_tokens = 4});
      const at::Tensor values = decoded(packet);
      const PacketCodes crossed = packet_codes(packet.bytes);
      EXPECT_EQ(crossed.granularity, one.granularity);
      EXPECT_EQ(crossed.format, format);
      for (int64_t stream = 0; stream < 4; ++stream) {
        const Fp8Layout layout{kTokens, one.by_head ? 2u : 1u, one.by_head ? 6u : 12u,
                               one.granularity, format};
        const auto count = static_cast<size_t>(kTokens * kWidth);
        std::vector<float> scales(num_fp8_scales(layout)), expected(count);
        std::vector<uint8_t> codes(count);
        const float* data = sent[stream].const_data_ptr<float>();
        ASSERT_TRUE(quantise_fp8(layout, {data, count}, scales, codes).ok());
        ASSERT_TRUE(dequantise_fp8(layout, codes, scales, expected).ok());
        EXPECT_TRUE(values[stream].flatten().equal(at::tensor(expected)))
            << one.scales << " " << element << " " << stream;
        EXPECT_TRUE(crossed.codes_MTW[stream].flatten().equal(at::tensor(codes)));
        EXPECT_TRUE(crossed.scales_MX[stream].equal(at::tensor(scales)));
      }
    }
  }
}

TEST(PacketTensors, CodesWithoutScalesAreThoseOfScaleOne) {
  const PacketCodes crossed = packet_codes(
      encode_packet(geometry(), streams(), {}, {.element = "e4m3fn", .scales = "none"}).bytes);
  EXPECT_TRUE(crossed.scales_MX.equal(at::ones({4, 1})));
  EXPECT_THROWS_WITH(
      packet_codes(encode_packet(geometry(), streams(), {}, {.element = "f16"}).bytes),
      "expected a packet in FP8");
}

TEST(PacketTensors, TokensThatTravelAsIdsAreLeftOut) {
  const EncodedPacket packet = encode_packet(geometry(), streams(), token_ids(),
                                             {.element = "f32",
                                              .chunk_tokens = 4,
                                              .num_sinks = 2,
                                              .num_reread = 1,
                                              .position_offset = 7,
                                              .all_token_ids = true});
  const DecodedPacket read = decode_packet(packet.bytes);
  EXPECT_EQ(read.first_token, 2);
  EXPECT_EQ(read.header.position_offset, 7u);
  EXPECT_EQ(read.bytes.total(), packet.bytes.size());
  EXPECT_EQ(read.sink_token_ids, (std::vector<int32_t>{100, 101}));
  EXPECT_EQ(read.token_ids, (std::vector<int32_t>{102, 103, 104, 105, 106, 107}));
  EXPECT_EQ(read.reread_token_ids, (std::vector<int32_t>{108}));
  EXPECT_TRUE(read.values_TMW.transpose(0, 1).equal(streams().narrow(1, 2, 6)));
}

TEST(PacketTensors, AFlatCacheIsOneStream) {
  const KvGeometry flat{.model = "flat", .num_layers = 1, .num_kv_heads = 1, .head_dim = 12};
  const at::Tensor cache = streams().narrow(0, 0, 1);
  const EncodedPacket packet = encode_packet(flat, cache, {}, {.element = "f32"});
  EXPECT_EQ(decode_packet(packet.bytes).header.content, PacketContent::kFlatCache);
  EXPECT_TRUE(decoded(packet).equal(cache));
}

TEST(PacketTensors, MistakesAreNamed) {
  const auto encode = [](const PacketOptions& options) {
    return encode_packet(geometry(), streams(), {}, options);
  };
  EXPECT_THROWS_WITH(encode({.element = "int8"}), "element to be one of e4m3fn, e5m2");
  EXPECT_THROWS_WITH(encode({.scales = "row"}), "scales to be one of none, tensor");
  EXPECT_THROWS_WITH(encode({.element = "f16", .scales = "token"}), "they go with FP8 alone");
  EXPECT_THROWS_WITH(encode({.chunk_tokens = -1}), "chunk_tokens of 0 to 2^32 - 1, got -1");
  EXPECT_THROWS_WITH(encode({.chunk_tokens = 0}), "one token or more in a chunk");
  EXPECT_THROWS_WITH(encode({.num_sinks = 1}), "expected token_ids");
  EXPECT_THROWS_WITH(encode({.position_offset = -1}), "position_offset of 0 or more");
  EXPECT_THROWS_WITH(encode({.encoder = "no/such.file"}), "no/such.file");
  EXPECT_THROWS_WITH(encode({.encoder = "tests/golden/ridge.safetensors"}), "magic bytes");
  EXPECT_THROWS_WITH(encode({.encoder = "tests/golden/encoder_v1.bin"}), "another model's");
  EXPECT_THROWS_WITH(encode_packet(geometry(), streams().narrow(0, 0, 3), {}, {}),
                     "expected CPU streams [4 or 1, tokens, 12]");
  EXPECT_THROWS_WITH(encode_packet(geometry(), streams().to(at::kDouble), {}, {}),
                     "expected float32, float16 or bfloat16");
  EXPECT_THROWS_WITH(encode_packet(geometry(), streams(), token_ids().to(at::kLong), {}),
                     "expected int32 token ids [9]");
  at::Tensor wrong = streams();
  wrong[3][5][7] = std::numeric_limits<float>::infinity();
  EXPECT_THROWS_WITH(encode_packet(geometry(), wrong, {}, {}),
                     "layer 1 values, token 5, head 1, channel 1");
}

TEST(PacketTensors, DamageIsNamed) {
  std::string bytes = encode_packet(geometry(), streams(), {}, {}).bytes;
  EXPECT_THROWS_WITH(decode_packet(std::string_view(bytes).substr(0, 50)), "expected a header");
  bytes[300] ^= 1;
  EXPECT_THROWS_WITH(decode_packet(bytes), "expected a chunk of its own checksum");
  // Its codes are any bytes, also those of NaN.
  EXPECT_THROWS_WITH(decode_packet(read_file("tests/golden/packet_v1_block_scales.bin")),
                     "expected finite numbers, got");
}

TEST(PacketTensors, IdsAreDigests) {
  EXPECT_EQ(geometry_id(geometry()).size(), 64u);
  KvGeometry other = geometry();
  other.model = "other";
  EXPECT_NE(geometry_id(other), geometry_id(geometry()));
  EXPECT_EQ(packet_id(std::string(32, '0').append(30, '1').append("a7"))[31], 0xA7);
  EXPECT_THROWS_WITH(packet_id("12"), "expected 64 digits");
  EXPECT_THROWS_WITH(packet_id(std::string(64, 'g')), "expected 64 digits");
}

}  // namespace
}  // namespace kvalign
