// Keys with rotary positions become content keys, with cosines that are ours.
#include "src/edge/turn.h"

#include <cmath>

#include "edge_packet.h"
#include "tests/support/packet_examples.h"
#include "tests/support/packet_records.h"

namespace kvalign::testing {
namespace {

// The exact value rounded to float32, where libm's float64 is close enough to tell.
void expect_rounded(float value, double exact, float angle) {
  // Half a unit in the last place of float32, and 2^-50 for what both float64 values are off by.
  const double tolerance = std::abs(exact) * 0x1p-24 + 0x1p-50;
  ASSERT_NEAR(value, exact, tolerance) << "angle " << angle;
}

TEST(EdgeTurn, CosinesAreRoundedFromExactOnes) {
  uint32_t checked = 0;
  for (uint32_t bits = 0; bits <= bits_of_float(0x1p24f); bits += 4099, ++checked) {
    const float angle = float_of_bits(bits);
    const CosSin turned = cos_sin(angle);
    expect_rounded(turned.cos, std::cos(static_cast<double>(angle)), angle);
    expect_rounded(turned.sin, std::sin(static_cast<double>(angle)), angle);
  }
  EXPECT_GT(checked, 200000u);
}

TEST(EdgeTurn, CosinesNearMultiplesOfAQuarterKeepTheirBits) {
  for (uint32_t quarters = 1; quarters < 10000000; quarters += 7) {
    const auto angle = static_cast<float>(quarters * 1.5707963267948966);
    const CosSin turned = cos_sin(angle);
    const double exact_cos = std::cos(static_cast<double>(angle));
    const double exact_sin = std::sin(static_cast<double>(angle));
    // Relative: what is close to zero has few bits in common with the angle.
    ASSERT_NEAR(turned.cos, exact_cos, std::abs(exact_cos) * 0x1.0001p-24) << quarters;
    ASSERT_NEAR(turned.sin, exact_sin, std::abs(exact_sin) * 0x1.0001p-24) << quarters;
  }
}

struct Case {
  uint32_t pairing, pairs;
};

class EdgeTurnBack : public ::testing::TestWithParam<Case> {};

constexpr uint32_t kTokens = 12;
constexpr uint64_t kOffset = 30000;

// Turns keys forward in float64, by float32 angles as transformers does.
TestCache rotated(const TestCache& content, const std::vector<float>& frequencies,
                  bool interleaved) {
  TestCache cache = content;
  const auto pairs = static_cast<uint32_t>(frequencies.size());
  for (uint32_t layer = 0; layer < content.shape.num_layers; ++layer) {
    for (uint32_t token = 0; token < content.tokens; ++token) {
      for (uint32_t head = 0; head < content.shape.num_kv_heads; ++head) {
        for (uint32_t pair = 0; pair < pairs; ++pair) {
          float& first = cache.at(layer, token, head, interleaved ? 2 * pair : pair);
          float& second = cache.at(layer, token, head, interleaved ? 2 * pair + 1 : pair + pairs);
          const double angle = static_cast<float>(kOffset + token) * frequencies[pair];
          const double a = first, b = second;
          first = static_cast<float>(a * std::cos(angle) - b * std::sin(angle));
          second = static_cast<float>(b * std::cos(angle) + a * std::sin(angle));
        }
      }
    }
  }
  return cache;
}

TEST_P(EdgeTurnBack, GivesContentKeysAndLeavesValues) {
  const Shape shape{2, 2, 18};
  const auto [pairing, pairs] = GetParam();
  std::vector<float> frequencies(pairs);
  for (uint32_t i = 0; i < pairs; ++i) {
    frequencies[i] = static_cast<float>(std::pow(10000.0, -static_cast<double>(i) / pairs));
  }
  kvalign_edge_options options = options_for(shape);
  options.element = KVALIGN_EDGE_F32;
  options.scales = KVALIGN_EDGE_SCALES_NONE;
  options.inverse_frequencies = frequencies.data();
  options.num_inverse_frequencies = pairs;
  options.pairing = pairing;
  const Encoder encoder(options);
  ASSERT_EQ(encoder.status, KVALIGN_EDGE_OK);
  TestCache content(shape, kTokens);
  TestCache turned = rotated(content, frequencies, pairing == KVALIGN_EDGE_PAIRING_INTERLEAVED);
  kvalign_edge_packet packet = packet_of(kTokens, 5);
  packet.position_offset = kOffset;
  const Bytes bytes = encode(encoder, packet, LaidOutCache(turned).cache());
  ReadPacket read;
  ASSERT_EQ(read_whole(view_of(bytes), read), PacketStatus::kOk);
  for (const PacketChunk& chunk : read.chunks) {
    const uint8_t* code = chunk.codes.data;
    for (uint32_t token = 0; token < chunk.num_tokens; ++token) {
      for (uint32_t stream = 0; stream < shape.streams(); ++stream) {
        for (uint32_t i = 0; i < shape.width(); ++i, code += 4) {
          const float value = float_of_bits(load_little_endian<uint32_t>(code));
          const uint32_t head = i / 18, channel = i % 18;
          const float expected = content.at(stream, chunk.first_token + token, head, channel);
          // Both turns round cosines, products and sums of numbers below 512: 8 roundings at most.
          const bool turns = stream < 2 && channel < 2 * pairs;
          ASSERT_NEAR(value, expected, turns ? 512 * 8 * 0x1p-24 : 0)
              << stream << " " << token << " " << i;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Pairings, EdgeTurnBack,
                         ::testing::Values(Case{KVALIGN_EDGE_PAIRING_HALF, 9},
                                           Case{KVALIGN_EDGE_PAIRING_INTERLEAVED, 9},
                                           Case{KVALIGN_EDGE_PAIRING_HALF, 4},
                                           Case{KVALIGN_EDGE_PAIRING_INTERLEAVED, 4}));

}  // namespace
}  // namespace kvalign::testing
