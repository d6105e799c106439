// The packet writer: chunks in place, buffers that are used again or too small, and wrong calls.
#include "kvalign/format/packet_writer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/packet_examples.h"

namespace kvalign::testing {
namespace {

// As a device sends: codes are made in the buffer, the record leaves, the buffer is used again.
TEST(PacketWriter, StreamsInPlaceThroughOneSmallBuffer) {
  const PacketHeader header = block_scales_header();
  PacketLayout layout;
  lay_out_packet(header, layout);
  Bytes sent;
  Bytes room(kPacketHeaderBytes + layout.preamble_bytes);
  ASSERT_GE(room.size(), layout.end_bytes);
  room.resize(std::max<uint64_t>(room.size(), layout.chunk_bytes(header.chunk_tokens)));
  PacketBuffer buffer{room.data(), room.size()};
  const auto send = [&] {
    sent.insert(sent.end(), buffer.data, buffer.data + buffer.size);
    buffer.size = 0;
  };

  PacketWriter writer;
  const std::vector<int32_t> sinks = example_token_ids(0, 1);
  ASSERT_EQ(writer.begin(header, {{}, view_of(sinks)}, buffer), PacketStatus::kOk);
  send();
  while (writer.chunks_left() > 0) {
    const uint64_t wanted = writer.bytes_wanted();
    PacketChunkSpace space;
    ASSERT_EQ(writer.open_chunk(buffer, space), PacketStatus::kOk);
    const std::vector<int32_t> ids = example_token_ids(space.first_token, space.num_tokens);
    for (uint32_t i = 0; i < space.num_tokens; ++i) {
      store_little_endian(space.token_ids + 4 * i, static_cast<uint32_t>(ids[i]));
    }
    const Bytes scales = example_scales(header, space.first_token, space.num_tokens);
    const Bytes codes = example_codes(header, space.first_token, space.num_tokens);
    ASSERT_EQ(space.token_id_bytes, 4 * ids.size());
    ASSERT_EQ(space.scale_bytes, scales.size());
    ASSERT_EQ(space.code_bytes, codes.size());
    std::copy(scales.begin(), scales.end(), space.scales);
    std::copy(codes.begin(), codes.end(), space.codes);
    ASSERT_EQ(writer.close_chunk(buffer), PacketStatus::kOk);
    EXPECT_EQ(buffer.size, wanted);
    send();
  }
  const std::vector<int32_t> reread = example_token_ids(4, 2);
  EXPECT_EQ(writer.bytes_wanted(), layout.end_bytes);
  ASSERT_EQ(writer.finish(view_of(reread), buffer), PacketStatus::kOk);
  send();
  EXPECT_EQ(sent, example_packet(header));
}

TEST(PacketWriter, WritesNothingIntoABufferThatIsTooSmall) {
  const PacketHeader header = token_scales_header();
  const Bytes whole = example_packet(header);
  Bytes bytes(whole.size(), 0xEE);
  PacketBuffer buffer{bytes.data(), 0};
  PacketWriter writer;
  const Bytes scales = example_scales(header, 0, 2);
  const Bytes codes = example_codes(header, 0, 2);
  PacketChunkSpace space;

  buffer.capacity = kPacketHeaderBytes + 3;  // the preamble is one checksum
  EXPECT_EQ(writer.begin(header, {}, buffer), PacketStatus::kBufferTooSmall);
  EXPECT_EQ(bytes, Bytes(whole.size(), 0xEE));
  buffer.capacity += 1;
  EXPECT_EQ(writer.begin(header, {}, buffer), PacketStatus::kOk);
  const size_t size = buffer.size;
  buffer.capacity = size + writer.bytes_wanted() - 1;
  EXPECT_EQ(writer.chunk({{}, view_of(scales), view_of(codes)}, buffer),
            PacketStatus::kBufferTooSmall);
  EXPECT_EQ(writer.open_chunk(buffer, space), PacketStatus::kBufferTooSmall);
  EXPECT_EQ(buffer.size, size);
  EXPECT_EQ(bytes[size], 0xEE);
  buffer.capacity += 1;
  EXPECT_EQ(writer.chunk({{}, view_of(scales), view_of(codes)}, buffer), PacketStatus::kOk);
  EXPECT_EQ(buffer.size, buffer.capacity);
  // A size beyond the capacity is no room either.
  buffer.size = buffer.capacity + 1;
  EXPECT_EQ(writer.open_chunk(buffer, space), PacketStatus::kBufferTooSmall);
}

TEST(PacketWriter, RefusesPartsOfOtherSizes) {
  const PacketHeader header = block_scales_header();
  Bytes bytes(1000);
  PacketBuffer buffer{bytes.data(), bytes.size()};
  PacketWriter writer;
  const std::vector<int32_t> ids = example_token_ids(0, 3);
  const TokenIds one{ids.data(), 1}, two{ids.data(), 2}, three{ids.data(), 3};
  const Bytes scales = example_scales(header, 0, 2);
  const Bytes codes = example_codes(header, 0, 2);
  const ByteView short_scales{scales.data(), scales.size() - 1};
  const ByteView short_codes{codes.data(), codes.size() - 1};

  EXPECT_EQ(writer.begin(header, {{}, two}, buffer), PacketStatus::kWrongPartSize);
  EXPECT_EQ(writer.begin(header, {view_of(scales), one}, buffer), PacketStatus::kWrongPartSize);
  EXPECT_EQ(writer.begin(header, {{}, one}, buffer), PacketStatus::kOk);
  const size_t size = buffer.size;
  EXPECT_EQ(writer.chunk({one, view_of(scales), view_of(codes)}, buffer),
            PacketStatus::kWrongPartSize);
  EXPECT_EQ(writer.chunk({two, short_scales, view_of(codes)}, buffer),
            PacketStatus::kWrongPartSize);
  EXPECT_EQ(writer.chunk({two, view_of(scales), short_codes}, buffer),
            PacketStatus::kWrongPartSize);
  EXPECT_EQ(buffer.size, size);
  EXPECT_EQ(writer.chunk({two, view_of(scales), view_of(codes)}, buffer), PacketStatus::kOk);
  EXPECT_EQ(writer.chunk({one, {scales.data(), 4}, {codes.data(), 80}}, buffer), PacketStatus::kOk);
  EXPECT_EQ(writer.finish(three, buffer), PacketStatus::kWrongPartSize);
  EXPECT_EQ(writer.finish(two, buffer), PacketStatus::kOk);
}

TEST(PacketWriter, RefusesCallsOutOfOrder) {
  const PacketHeader header = token_scales_header();
  Bytes bytes(1000);
  PacketBuffer buffer{bytes.data(), bytes.size()};
  PacketWriter writer;
  PacketChunkSpace space;
  EXPECT_EQ(writer.open_chunk(buffer, space), PacketStatus::kWrongCall);
  EXPECT_EQ(writer.close_chunk(buffer), PacketStatus::kWrongCall);
  EXPECT_EQ(writer.chunk({}, buffer), PacketStatus::kWrongCall);
  EXPECT_EQ(writer.finish({}, buffer), PacketStatus::kWrongCall);
  EXPECT_EQ(writer.begin(header, {}, buffer), PacketStatus::kOk);
  EXPECT_EQ(writer.finish({}, buffer), PacketStatus::kWrongCall);  // chunks are missing
  EXPECT_EQ(writer.open_chunk(buffer, space), PacketStatus::kOk);
  EXPECT_EQ(writer.open_chunk(buffer, space), PacketStatus::kWrongCall);
  EXPECT_EQ(writer.chunk({}, buffer), PacketStatus::kWrongCall);
  EXPECT_EQ(writer.finish({}, buffer), PacketStatus::kWrongCall);
  EXPECT_EQ(writer.begin(header, {}, buffer), PacketStatus::kOk);  // anew
  EXPECT_EQ(writer.chunks_left(), 3u);
}

}  // namespace
}  // namespace kvalign::testing
