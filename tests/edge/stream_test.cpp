// A packet made chunk by chunk: buffers that are used again, caches that grow, sizes that were
// announced, and calls that were refused and come again.
#include <thread>

#include "edge_packet.h"

namespace kvalign::testing {
namespace {

constexpr uint32_t kTokens = 50, kChunk = 9, kSinks = 4, kReread = 3;
const Shape kShape{2, 2, 18};

class EdgeStream : public ::testing::Test {
 protected:
  EdgeStream() : encoder_(options_for(kShape)), cache_(kShape, kTokens), laid_out_(cache_) {
    packet_.num_sinks = kSinks;
    packet_.num_reread = kReread;
    packet_.token_ids = ids_.data();
    whole_ = encode(encoder_, packet_, laid_out_.cache());
    EXPECT_EQ(kvalign_edge_packet_sizes(encoder_, &packet_, &sizes_), KVALIGN_EDGE_OK);
  }

  const std::vector<int32_t> ids_ = std::vector<int32_t>(kTokens, 9);
  kvalign_edge_packet packet_ = packet_of(kTokens, kChunk);
  Encoder encoder_;
  TestCache cache_;
  LaidOutCache laid_out_;
  Bytes whole_;
  kvalign_edge_sizes sizes_{};
};

TEST_F(EdgeStream, TheBufferOfOneRecordIsEnough) {
  Bytes room(std::max({sizes_.begin_bytes, sizes_.chunk_bytes, sizes_.finish_bytes}));
  kvalign_edge_buffer buffer{room.data(), room.size(), 0};
  Bytes sent;
  const auto send = [&] {
    sent.insert(sent.end(), buffer.data, buffer.data + buffer.size);
    buffer.size = 0;
  };
  ASSERT_EQ(kvalign_edge_begin(encoder_, &packet_, &buffer), KVALIGN_EDGE_OK);
  EXPECT_EQ(buffer.size, sizes_.begin_bytes);
  EXPECT_EQ(kvalign_edge_chunks_left(encoder_), sizes_.num_chunks);
  send();
  for (uint32_t chunk = 0; chunk < sizes_.num_chunks; ++chunk) {
    // The cache as it is when the chunk's tokens exist, seen from its second half on.
    kvalign_edge_cache cache = laid_out_.cache();
    cache.num_tokens = std::min(kSinks + (chunk + 1) * kChunk, kTokens - kReread);
    std::vector<kvalign_edge_tensor> later = laid_out_.tensors;
    if (chunk > 2) {
      for (kvalign_edge_tensor& tensor : later) {
        tensor.data = static_cast<const float*>(tensor.data) + 20 * tensor.token_stride;
      }
      cache = {later.data(), later.data() + 2, 20, cache.num_tokens - 20};
    }
    ASSERT_EQ(kvalign_edge_chunk(encoder_, &cache, &buffer), KVALIGN_EDGE_OK);
    EXPECT_LE(buffer.size, sizes_.chunk_bytes);
    send();
  }
  EXPECT_EQ(kvalign_edge_chunks_left(encoder_), 0u);
  ASSERT_EQ(kvalign_edge_finish(encoder_, &buffer), KVALIGN_EDGE_OK);
  EXPECT_EQ(buffer.size, sizes_.finish_bytes);
  send();
  EXPECT_EQ(sent, whole_);
}

TEST_F(EdgeStream, ARefusedChunkComesAgain) {
  Bytes bytes(sizes_.packet_bytes);
  kvalign_edge_buffer buffer{bytes.data(), bytes.size(), 0};
  kvalign_edge_cache cache = laid_out_.cache();
  ASSERT_EQ(kvalign_edge_begin(encoder_, &packet_, &buffer), KVALIGN_EDGE_OK);
  while (kvalign_edge_chunks_left(encoder_) > 0) {
    const size_t size = buffer.size;
    kvalign_edge_cache short_one = cache;
    short_one.num_tokens = 5;
    EXPECT_EQ(kvalign_edge_chunk(encoder_, &short_one, &buffer), KVALIGN_EDGE_TOKENS_MISSING);
    kvalign_edge_buffer full{bytes.data(), size + 10, size};
    EXPECT_EQ(kvalign_edge_chunk(encoder_, &cache, &full), KVALIGN_EDGE_BUFFER_TOO_SMALL);
    EXPECT_EQ(full.size, size);
    // A number that is not finite, in the last token of a chunk; counts must not be doubled.
    float* last = reinterpret_cast<float*>(laid_out_.memory[3].data());
    for (uint32_t i = kSinks; i < kTokens - kReread; ++i) last[i * 18] += INFINITY;
    EXPECT_EQ(kvalign_edge_chunk(encoder_, &cache, &buffer), KVALIGN_EDGE_NOT_FINITE);
    laid_out_.memory[3] = cache_.lay_out(3, laid_out_.tensors[3]);
    laid_out_.tensors[3].data = laid_out_.memory[3].data();
    EXPECT_EQ(buffer.size, size);
    ASSERT_EQ(kvalign_edge_chunk(encoder_, &cache, &buffer), KVALIGN_EDGE_OK);
  }
  EXPECT_EQ(kvalign_edge_finish(encoder_, &buffer), KVALIGN_EDGE_OK);
  EXPECT_EQ(bytes, whole_);
}

TEST_F(EdgeStream, BeginStartsAnewInTheMiddle) {
  Bytes bytes(sizes_.packet_bytes);
  kvalign_edge_buffer buffer{bytes.data(), bytes.size(), 0};
  const kvalign_edge_cache cache = laid_out_.cache();
  ASSERT_EQ(kvalign_edge_begin(encoder_, &packet_, &buffer), KVALIGN_EDGE_OK);
  ASSERT_EQ(kvalign_edge_chunk(encoder_, &cache, &buffer), KVALIGN_EDGE_OK);
  EXPECT_EQ(encode(encoder_, packet_, cache), whole_);
}

TEST_F(EdgeStream, TokensThatTravelAsIdsAreNotRead) {
  for (uint32_t stream = 0; stream < kShape.streams(); ++stream) {
    cache_.at(stream, kSinks - 1, 1, 17) = NAN;
    cache_.at(stream, kTokens - kReread, 0, 0) = NAN;
  }
  EXPECT_EQ(encode(encoder_, packet_, LaidOutCache(cache_).cache()), whole_);
}

TEST_F(EdgeStream, APacketOfSinksAloneHasNoChunks) {
  kvalign_edge_packet packet = packet_of(3, 5);
  packet.num_sinks = 3;
  packet.token_ids = ids_.data();
  ASSERT_EQ(kvalign_edge_packet_sizes(encoder_, &packet, &sizes_), KVALIGN_EDGE_OK);
  EXPECT_EQ(sizes_.num_chunks, 0u);
  EXPECT_EQ(sizes_.chunk_bytes, 0u);
  EXPECT_EQ(encode(encoder_, packet, laid_out_.cache()).size(), sizes_.packet_bytes);
}

TEST_F(EdgeStream, ShortStaticScalesSaturateAndAreCounted) {
  kvalign_edge_options options = options_for(kShape);
  options.scales = KVALIGN_EDGE_SCALES_TENSOR;
  const Encoder encoder(options);
  const std::vector<float> scales(kShape.streams(), 1e-6f);
  kvalign_edge_packet packet = packet_of(kTokens, kChunk);
  packet.static_scales = scales.data();
  packet.num_static_scales = scales.size();
  encode(encoder, packet, laid_out_.cache());
  size_t others_than_zero = 0;
  for (const float number : cache_.numbers) others_than_zero += number != 0;
  EXPECT_EQ(kvalign_edge_encoder_counts(encoder).saturated, others_than_zero);
  EXPECT_EQ(kvalign_edge_encoder_counts(encoder).flushed, 0u);
  // The next packet counts from zero.
  kvalign_edge_packet none = packet_of(1, 1);
  none.num_sinks = 1;
  none.token_ids = ids_.data();
  none.static_scales = scales.data();
  none.num_static_scales = scales.size();
  encode(encoder, none, laid_out_.cache());
  EXPECT_EQ(kvalign_edge_encoder_counts(encoder).saturated, 0u);
}

// Under the thread sanitiser too, see CMakeLists.txt.
TEST_F(EdgeStream, TwoEncodersWorkAtOnce) {
  std::vector<Bytes> made(2);
  std::vector<std::thread> threads;
  for (Bytes& bytes : made) {
    threads.emplace_back([&] {
      const Encoder encoder(options_for(kShape));
      for (int i = 0; i < 20; ++i) bytes = encode(encoder, packet_, laid_out_.cache());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made[0], whole_);
  EXPECT_EQ(made[1], whole_);
}

}  // namespace
}  // namespace kvalign::testing
