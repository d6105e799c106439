// Latents: the linear map of an encoder file, in the order of summation that latent.cpp defines.
#include <cmath>

#include "edge_packet.h"
#include "kvalign/format/encoder_file.h"
#include "tests/support/packet_examples.h"
#include "tests/support/packet_records.h"

namespace kvalign::testing {
namespace {

constexpr uint32_t kTokens = 11, kChunk = 11;
const Shape kShape{2, 2, 18};

// The golden file: streams 2, 0 and 3 of a model of two layers, 24 numbers a latent.
class EdgeLatent : public ::testing::Test {
 protected:
  EdgeLatent()
      : file_(aligned_copy(read_bytes("tests/golden/encoder_v1.bin"))), cache_(kShape, kTokens) {
    EXPECT_EQ(read_encoder_file({static_cast<const uint8_t*>(file_.get()), file_.size}, weights_),
              EncoderFileStatus::kOk);
    options_.encoder_file = file_.get();
    options_.encoder_file_bytes = file_.size;
  }

  std::vector<float> features_of(uint32_t token) {
    std::vector<float> features(weights_.layout.row_floats);
    for (uint32_t place = 0; place < weights_.header.num_streams; ++place) {
      std::copy_n(&cache_.at(weights_.streams[place], token, 0, 0), kShape.width(),
                  features.begin() + place * kShape.width());
    }
    return features;
  }

  // The definition, literally.
  float expected(uint32_t token, uint32_t number) {
    const std::vector<float> features = features_of(token);
    const float* weights = weights_.weights + number * weights_.layout.row_floats;
    float partial[16] = {};
    for (size_t i = 0; i < features.size(); ++i) {
      const float product = weights[i] * features[i];
      partial[i % 16] = partial[i % 16] + product;
    }
    float lane[4];
    for (int j = 0; j < 4; ++j) {
      lane[j] = (partial[j] + partial[j + 4]) + (partial[j + 8] + partial[j + 12]);
    }
    return weights_.bias[number] + ((lane[0] + lane[1]) + (lane[2] + lane[3]));
  }

  // The packet's only chunk.
  PacketChunk chunk_of(const Bytes& bytes) {
    ReadPacket read;
    EXPECT_EQ(read_whole(view_of(bytes), read), PacketStatus::kOk);
    EXPECT_EQ(read.header.content, PacketContent::kLatent);
    EXPECT_EQ(read.header.rank, 24u);
    EXPECT_EQ(read.header.encoder_id, example_id(32));
    EXPECT_EQ(read.header.geometry_id, example_id(0));
    return read.chunks.at(0);
  }

  AlignedMemory file_;
  EncoderFile weights_;
  kvalign_edge_options options_ = options_for(kShape);
  TestCache cache_;
};

TEST_F(EdgeLatent, IsTheSumInItsDefinedOrder) {
  options_.element = KVALIGN_EDGE_F32;
  options_.scales = KVALIGN_EDGE_SCALES_NONE;
  const Encoder encoder(options_);
  ASSERT_EQ(encoder.status, KVALIGN_EDGE_OK);
  const Bytes bytes = encode(encoder, packet_of(kTokens, kChunk), LaidOutCache(cache_).cache());
  const PacketChunk chunk = chunk_of(bytes);
  for (uint32_t token = 0; token < kTokens; ++token) {
    const std::vector<float> features = features_of(token);
    for (uint32_t number = 0; number < 24; ++number) {
      const float value =
          float_of_bits(load_little_endian<uint32_t>(chunk.codes.data + 4 * (token * 24 + number)));
      ASSERT_EQ(value, expected(token, number)) << token << " " << number;
      // And the definition is a sum: within n roundings of the magnitudes' sum.
      double exact = weights_.bias[number], magnitudes = std::abs(exact);
      for (uint64_t i = 0; i < features.size(); ++i) {
        const double product =
            double{weights_.weights[number * weights_.layout.row_floats + i]} * double{features[i]};
        exact += product;
        magnitudes += std::abs(product);
      }
      ASSERT_NEAR(value, exact, magnitudes * 16 * 0x1p-24);
    }
  }
}

TEST_F(EdgeLatent, TheWireOfItsTrainingIsItsStaticScale) {
  kvalign_edge_file_info info{};
  ASSERT_EQ(kvalign_edge_read_file_info(file_.get(), file_.size, &info), KVALIGN_EDGE_OK);
  EXPECT_EQ(info.rank, 24u);
  EXPECT_EQ(info.num_layers, 2u);
  EXPECT_EQ(info.num_kv_heads, 2u);
  EXPECT_EQ(info.head_dim, 18u);
  EXPECT_EQ(info.is_flat, 0u);
  EXPECT_EQ(info.wire_element, static_cast<uint32_t>(KVALIGN_EDGE_E4M3FN));
  EXPECT_EQ(info.wire_scale, 1.0f / 16);
  EXPECT_EQ(std::memcmp(info.encoder_id, example_id(32).data(), 32), 0);
  EXPECT_EQ(std::memcmp(info.geometry_id, example_id(0).data(), 32), 0);

  options_.element = info.wire_element;
  options_.scales = KVALIGN_EDGE_SCALES_TENSOR;
  const Encoder encoder(options_);
  kvalign_edge_packet packet = packet_of(kTokens, kChunk);
  packet.static_scales = &info.wire_scale;
  packet.num_static_scales = 1;
  const Bytes bytes = encode(encoder, packet, LaidOutCache(cache_).cache());
  const PacketChunk chunk = chunk_of(bytes);
  for (uint32_t token = 0; token < kTokens; ++token) {
    for (uint32_t number = 0; number < 24; ++number) {
      // low_rank.cpp's through_wire: 16 codes a unit.
      ASSERT_EQ(
          chunk.codes.data[token * 24 + number],
          encode_fp8(expected(token, number) * 16, Fp8Format::kE4M3FN, Fp8Overflow::kSaturate));
    }
  }
}

TEST_F(EdgeLatent, ReadsOnlyTheStreamsOfItsFile) {
  const Encoder encoder(options_);
  const Bytes bytes = encode(encoder, packet_of(kTokens, kChunk), LaidOutCache(cache_).cache());
  cache_.at(1, 3, 0, 0) = INFINITY;  // keys of layer 1: not among 2, 0, 3
  EXPECT_EQ(encode(encoder, packet_of(kTokens, kChunk), LaidOutCache(cache_).cache()), bytes);
}

TEST_F(EdgeLatent, ThatOverflowsIsRefused) {
  // The largest numbers, with the signs of the weights of the latent's first number.
  for (uint32_t i = 0; i < kShape.width(); ++i) {
    cache_.at(2, 5, i / 18, i % 18) = std::copysign(0x1.fffffep127f, weights_.weights[i]);
  }
  const Encoder encoder(options_);
  const LaidOutCache laid_out(cache_);
  const kvalign_edge_cache view = laid_out.cache();
  const kvalign_edge_packet packet = packet_of(kTokens, kChunk);
  Bytes bytes(10000);
  kvalign_edge_buffer buffer{bytes.data(), bytes.size(), 0};
  ASSERT_EQ(kvalign_edge_begin(encoder, &packet, &buffer), KVALIGN_EDGE_OK);
  EXPECT_EQ(kvalign_edge_chunk(encoder, &view, &buffer), KVALIGN_EDGE_LATENT_NOT_FINITE);
  const kvalign_edge_fault fault = kvalign_edge_encoder_fault(encoder);
  EXPECT_EQ(fault.token, 5u);
  EXPECT_LT(fault.channel, 24u);
  EXPECT_FALSE(std::isfinite(expected(5, fault.channel)));
}

}  // namespace
}  // namespace kvalign::testing
