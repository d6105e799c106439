// Every element with every kind of scales: the packet that the library makes holds what the scalar
// codec of format/ makes of each stream.
#include <cmath>
#include <numeric>

#include "edge_packet.h"
#include "kvalign/format/fp8_quantise.h"
#include "kvalign/format/fp8_scale.h"
#include "tests/support/packet_examples.h"
#include "tests/support/packet_records.h"

namespace kvalign::testing {
namespace {

constexpr uint32_t kTokens = 13, kSinks = 2, kReread = 1, kCoded = kTokens - kSinks - kReread;

// The codec's view of one stream: a row of blocks is a row of the packet, not of a head.
Fp8Layout layout_of(const Shape& shape, PacketScales scales, Fp8Format format) {
  const bool by_head = scales == PacketScales::kHead;
  Fp8Layout layout{kCoded, by_head ? shape.num_kv_heads : 1,
                   by_head ? shape.head_dim : shape.width(), ScaleGranularity::kTensor, format};
  switch (scales) {
    case PacketScales::kHead:
      layout.granularity = ScaleGranularity::kHead;
      break;
    case PacketScales::kToken:
      layout.granularity = ScaleGranularity::kToken;
      break;
    case PacketScales::kChannel:
      layout.granularity = ScaleGranularity::kChannel;
      break;
    case PacketScales::kBlock32:
      layout.granularity = ScaleGranularity::kBlock32;
      break;
    default:
      break;
  }
  return layout;
}

struct Expected {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  Fp8Result counts;
};

Expected expected_of_stream(TestCache& cache, uint32_t stream, const Fp8Layout& layout,
                            bool has_scales) {
  Expected expected;
  const size_t width = cache.shape.width();
  const std::span<const float> values(&cache.at(stream, kSinks, 0, 0), kCoded * width);
  expected.codes.resize(values.size());
  expected.scales.assign(num_fp8_scales(layout), 1.0f);
  if (has_scales) {
    EXPECT_TRUE(choose_fp8_scales(layout, values, expected.scales).ok());
  }
  expected.counts = encode_fp8(layout, values, expected.scales, expected.codes);
  EXPECT_TRUE(expected.counts.ok());
  return expected;
}

float float_at(ByteView bytes, size_t index) {
  return float_of_bits(load_little_endian<uint32_t>(bytes.data + 4 * index));
}

// The scale that a packet carries for the `index`-th scale of a stream by the codec's counting.
float scale_in(const ReadPacket& packet, const Shape& shape, uint32_t stream, size_t index) {
  const uint32_t streams = shape.streams();
  const ByteView scales = packet.chunks[0].scales;
  switch (packet.header.scales) {
    case PacketScales::kTensor:
      return float_at(packet.preamble.static_scales, stream);
    case PacketScales::kHead:
      return float_at(packet.preamble.static_scales, stream * shape.num_kv_heads + index);
    case PacketScales::kChannel:
      return float_at(packet.preamble.static_scales, stream * shape.width() + index);
    case PacketScales::kToken:
      return float_at(scales, index * streams + stream);
    case PacketScales::kBlock32: {
      const size_t blocks = (shape.width() + 31) / 32;
      const size_t token = index / blocks;
      return decode_e8m0(scales.data[(token * streams + stream) * blocks + index % blocks]);
    }
    default:
      return 1.0f;
  }
}

struct Case {
  uint32_t element, scales;
  bool is_flat;
};

class EdgeEncode : public ::testing::TestWithParam<Case> {};

TEST_P(EdgeEncode, AgreesWithTheScalarCodec) {
  Shape shape;
  if (GetParam().is_flat) shape = {1, 1, 70, true};
  kvalign_edge_options options = options_for(shape);
  options.element = GetParam().element;
  options.scales = GetParam().scales;
  options.all_token_ids = 1;
  const Encoder encoder(options);
  ASSERT_EQ(encoder.status, KVALIGN_EDGE_OK);
  TestCache cache(shape, kTokens);
  const LaidOutCache laid_out(cache);

  // One chunk holds all, so that its scales and codes are easy to find.
  kvalign_edge_packet packet = packet_of(kTokens, kCoded);
  packet.num_sinks = kSinks;
  packet.num_reread = kReread;
  const std::vector<int32_t> ids = example_token_ids(0, kTokens);
  packet.token_ids = ids.data();
  kvalign_edge_sizes sizes{};
  ASSERT_EQ(kvalign_edge_packet_sizes(encoder, &packet, &sizes), KVALIGN_EDGE_OK);
  std::vector<float> scales(sizes.num_static_scales);
  const kvalign_edge_cache view = laid_out.cache();
  if (!scales.empty()) {
    ASSERT_EQ(kvalign_edge_choose_scales(encoder, &packet, &view, scales.data(), scales.size()),
              KVALIGN_EDGE_OK);
    packet.static_scales = scales.data();
    packet.num_static_scales = scales.size();
  }
  const Bytes bytes = encode(encoder, packet, view);
  ReadPacket read;
  ASSERT_EQ(read_whole(view_of(bytes), read), PacketStatus::kOk);
  EXPECT_EQ(token_ids_of(read.preamble.sink_token_ids), example_token_ids(0, kSinks));
  EXPECT_EQ(token_ids_of(read.chunks[0].token_ids), example_token_ids(kSinks, kCoded));
  EXPECT_EQ(token_ids_of(read.reread_token_ids), example_token_ids(kTokens - kReread, kReread));

  const Fp8Layout layout =
      layout_of(shape, read.header.scales,
                options.element == KVALIGN_EDGE_E4M3FN ? Fp8Format::kE4M3FN : Fp8Format::kE5M2);
  const bool has_scales = options.scales != KVALIGN_EDGE_SCALES_NONE;
  uint64_t saturated = 0, flushed = 0;
  for (uint32_t stream = 0; stream < shape.streams(); ++stream) {
    const Expected expected = expected_of_stream(cache, stream, layout, has_scales);
    saturated += expected.counts.saturated;
    flushed += expected.counts.flushed;
    for (size_t i = 0; i < expected.scales.size(); ++i) {
      ASSERT_EQ(scale_in(read, shape, stream, i), expected.scales[i]) << stream << " " << i;
    }
    for (uint32_t token = 0; token < kCoded; ++token) {
      const uint8_t* codes =
          read.chunks[0].codes.data + (size_t{token} * shape.streams() + stream) * shape.width();
      for (uint32_t i = 0; i < shape.width(); ++i) {
        ASSERT_EQ(codes[i], expected.codes[size_t{token} * shape.width() + i])
            << "stream " << stream << ", token " << token << ", element " << i;
      }
    }
  }
  EXPECT_EQ(kvalign_edge_encoder_counts(encoder).saturated, saturated);
  EXPECT_EQ(kvalign_edge_encoder_counts(encoder).flushed, flushed);
}

std::vector<Case> all_fp8_cases() {
  std::vector<Case> cases;
  for (const uint32_t element : {KVALIGN_EDGE_E4M3FN, KVALIGN_EDGE_E5M2}) {
    for (uint32_t scales = 0; scales <= KVALIGN_EDGE_SCALES_BLOCK32; ++scales) {
      for (const bool is_flat : {false, true}) cases.push_back({element, scales, is_flat});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, EdgeEncode, ::testing::ValuesIn(all_fp8_cases()),
                         [](const ::testing::TestParamInfo<Case>& info) {
                           const Case& c = info.param;
                           return "Element" + std::to_string(c.element) + "Scales" +
                                  std::to_string(c.scales) + (c.is_flat ? "Flat" : "Layers");
                         });

// Codes of float16, bfloat16 and float32 elements, as unsigned numbers.
std::vector<uint32_t> wide_codes(uint32_t element, const std::vector<float>& numbers,
                                 kvalign_edge_counts& counts) {
  Shape shape{1, 1, static_cast<uint32_t>(numbers.size()), true};
  kvalign_edge_options options = options_for(shape);
  options.element = element;
  options.scales = KVALIGN_EDGE_SCALES_NONE;
  const Encoder encoder(options);
  TestCache cache(shape, 1);
  cache.numbers = numbers;
  const LaidOutCache laid_out(cache);
  const Bytes bytes = encode(encoder, packet_of(1, 1), laid_out.cache());
  counts = kvalign_edge_encoder_counts(encoder);
  ReadPacket read;
  EXPECT_EQ(read_whole(view_of(bytes), read), PacketStatus::kOk);
  std::vector<uint32_t> codes(numbers.size());
  const size_t size = read.chunks[0].codes.size / numbers.size();
  for (size_t i = 0; i < codes.size(); ++i) {
    std::memcpy(&codes[i], read.chunks[0].codes.data + size * i, size);
  }
  return codes;
}

TEST(EdgeEncode, Float16IsRoundedToNearestEvenAndSaturates) {
  const std::vector<float> numbers{1.0f,         -1.0f,       65504.0f,   65519.0f,   65520.0f,
                                   -1e30f,       0x1p-24f,    0x1p-25f,   0x1.8p-25f, 0x1p-14f,
                                   0x1.ff8p-15f, 0x1.002p0f,  0x1.006p0f, 0.0f,       -0.0f,
                                   1e-38f,       0x1.ffep-15f};
  kvalign_edge_counts counts;
  const std::vector<uint32_t> codes = wide_codes(KVALIGN_EDGE_F16, numbers, counts);
  EXPECT_EQ(codes, (std::vector<uint32_t>{0x3C00, 0xBC00, 0x7BFF, 0x7BFF, 0x7BFF, 0xFBFF, 0x0001,
                                          0x0000, 0x0001, 0x0400, 0x03FF, 0x3C00, 0x3C02, 0x0000,
                                          0x8000, 0x0000, 0x0400}));
  EXPECT_EQ(counts.saturated, 2u);
  EXPECT_EQ(counts.flushed, 2u);
}

TEST(EdgeEncode, Bfloat16IsRoundedToNearestEvenAndSaturates) {
  const std::vector<float> numbers{1.0f,        -2.0f,           0x1.01p0f, 0x1.03p0f,
                                   0x1.fep127f, 0x1.fffffep127f, 0x1p-149f, 0x1.fffffep-127f};
  kvalign_edge_counts counts;
  const std::vector<uint32_t> codes = wide_codes(KVALIGN_EDGE_BF16, numbers, counts);
  EXPECT_EQ(codes, (std::vector<uint32_t>{0x3F80, 0xC000, 0x3F80, 0x3F82, 0x7F7F, 0x7F7F, 0x0000,
                                          0x0080}));
  EXPECT_EQ(counts.saturated, 1u);
  EXPECT_EQ(counts.flushed, 1u);
}

TEST(EdgeEncode, Float32TravelsAsItIs) {
  const std::vector<float> numbers{1.0f, -0.0f, 0x1p-149f, 0x1.fffffep127f, -3.25f};
  kvalign_edge_counts counts;
  const std::vector<uint32_t> codes = wide_codes(KVALIGN_EDGE_F32, numbers, counts);
  for (size_t i = 0; i < numbers.size(); ++i) EXPECT_EQ(codes[i], bits_of_float(numbers[i]));
  EXPECT_EQ(counts.saturated + counts.flushed, 0u);
}

// What the library writes around the codes is what a golden packet of the same header has there.
void expect_frame_of_golden(const PacketHeader& header, const Bytes& bytes, const Bytes& golden) {
  PacketLayout layout;
  ASSERT_EQ(lay_out_packet(header, layout), PacketStatus::kOk);
  ASSERT_EQ(bytes.size(), golden.size());
  const size_t begin = kPacketHeaderBytes + layout.preamble_bytes;
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.begin() + begin, golden.begin()));
  EXPECT_TRUE(
      std::equal(bytes.end() - layout.end_bytes, bytes.end(), golden.end() - layout.end_bytes));
  EXPECT_TRUE(std::equal(bytes.begin() + begin, bytes.begin() + begin + kPacketChunkHeaderBytes,
                         golden.begin() + begin));
}

TEST(EdgeEncode, HeaderPreambleAndEndAreThoseOfTheGoldenPackets) {
  for (const auto& [header, name] : {std::pair{token_scales_header(), "token_scales"},
                                     std::pair{block_scales_header(), "block_scales"}}) {
    const Shape shape{header.num_layers, header.num_kv_heads, header.head_dim};
    kvalign_edge_options options = options_for(shape);
    options.element = static_cast<uint32_t>(header.element);
    options.scales = static_cast<uint32_t>(header.scales);
    options.all_token_ids = static_cast<uint32_t>(header.token_ids);
    const Encoder encoder(options);
    kvalign_edge_packet packet = packet_of(header.num_tokens, header.chunk_tokens);
    packet.num_sinks = header.num_sinks;
    packet.num_reread = header.num_reread;
    packet.position_offset = header.position_offset;
    const std::vector<int32_t> ids = example_token_ids(0, header.num_tokens);
    packet.token_ids = ids.data();
    TestCache cache(shape, header.num_tokens);
    const LaidOutCache laid_out(cache);
    expect_frame_of_golden(header, encode(encoder, packet, laid_out.cache()),
                           read_bytes(std::string("tests/golden/packet_v1_") + name + ".bin"));
  }
}

}  // namespace
}  // namespace kvalign::testing
