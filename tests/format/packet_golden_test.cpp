// Packets of version 1 that a Python script made from the table in packet.h: the reader finds in
// them what the script says, and the writer makes the same bytes. Never edit the files: a packet of
// a released version stays readable.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/packet_examples.h"
#include "tests/support/packet_records.h"

namespace kvalign::testing {
namespace {

Bytes golden(const std::string& name) {
  const std::string path = "tests/golden/packet_v1_" + name + ".bin";
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << "cannot open " << path;
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

Bytes bytes_of(ByteView view) {
  return Bytes(view.data, view.data + view.size);
}

TEST(PacketGolden, TheWriterMakesTheSameBytes) {
  EXPECT_EQ(example_packet(latent_header()), golden("latent"));
  EXPECT_EQ(example_packet(token_scales_header()), golden("token_scales"));
  EXPECT_EQ(example_packet(block_scales_header()), golden("block_scales"));
}

TEST(PacketGolden, TheLatentIsRead) {
  const Bytes bytes = golden("latent");
  ReadPacket packet;
  ASSERT_EQ(read_whole(view_of(bytes), packet), PacketStatus::kOk);
  EXPECT_EQ(packet.header.content, PacketContent::kLatent);
  EXPECT_EQ(packet.header.element, PacketElement::kE4M3FN);
  EXPECT_EQ(packet.header.scales, PacketScales::kTensor);
  EXPECT_EQ(packet.header.token_ids, PacketTokenIds::kRecomputed);
  EXPECT_EQ(packet.header.num_layers, 0u);
  EXPECT_EQ(packet.header.num_kv_heads, 0u);
  EXPECT_EQ(packet.header.head_dim, 0u);
  EXPECT_EQ(packet.header.rank, 48u);
  EXPECT_EQ(packet.header.num_tokens, 7u);
  EXPECT_EQ(packet.header.chunk_tokens, 3u);
  EXPECT_EQ(packet.header.num_sinks, 2u);
  EXPECT_EQ(packet.header.num_reread, 1u);
  EXPECT_EQ(packet.header.position_offset, 1000u);
  EXPECT_EQ(packet.header.geometry_id, example_id(0));
  EXPECT_EQ(packet.header.encoder_id, example_id(32));

  EXPECT_EQ(bytes_of(packet.preamble.static_scales), example_floats(1, 4));
  EXPECT_EQ(token_ids_of(packet.preamble.sink_token_ids), (std::vector<int32_t>{70000, 70003}));
  EXPECT_EQ(token_ids_of(packet.reread_token_ids), (std::vector<int32_t>{70018}));
  ASSERT_EQ(packet.chunks.size(), 2u);
  EXPECT_EQ(packet.chunks[0].first_token, 2u);
  EXPECT_EQ(packet.chunks[0].num_tokens, 3u);
  EXPECT_EQ(packet.chunks[1].first_token, 5u);
  EXPECT_EQ(packet.chunks[1].num_tokens, 1u);
  EXPECT_EQ(packet.chunks[0].token_ids.size, 0u);
  EXPECT_EQ(packet.chunks[0].scales.size, 0u);
  EXPECT_EQ(bytes_of(packet.chunks[0].codes), example_codes(packet.header, 2, 3));
  EXPECT_EQ(bytes_of(packet.chunks[1].codes), example_codes(packet.header, 5, 1));
}

TEST(PacketGolden, ScalesOfTokensTravelWithThem) {
  const Bytes bytes = golden("token_scales");
  ReadPacket packet;
  ASSERT_EQ(read_whole(view_of(bytes), packet), PacketStatus::kOk);
  EXPECT_EQ(packet.header.content, PacketContent::kCache);
  EXPECT_EQ(packet.header.num_layers, 2u);
  EXPECT_EQ(packet.header.num_kv_heads, 1u);
  EXPECT_EQ(packet.header.head_dim, 4u);
  EXPECT_EQ(packet.preamble.static_scales.size, 0u);
  ASSERT_EQ(packet.chunks.size(), 3u);
  // Token 4 has the streams' scales 41/64 .. 44/64.
  EXPECT_EQ(bytes_of(packet.chunks[2].scales), example_floats(41, 16));
  EXPECT_EQ(bytes_of(packet.chunks[2].codes), example_codes(packet.header, 4, 1));
}

TEST(PacketGolden, BlocksAndTokenIdsTravelWithTheirTokens) {
  const Bytes bytes = golden("block_scales");
  ReadPacket packet;
  ASSERT_EQ(read_whole(view_of(bytes), packet), PacketStatus::kOk);
  EXPECT_EQ(packet.header.element, PacketElement::kE5M2);
  EXPECT_EQ(packet.header.scales, PacketScales::kBlock32);
  EXPECT_EQ(packet.header.token_ids, PacketTokenIds::kAll);
  EXPECT_EQ(packet.header.position_offset, 5000000000u);
  EXPECT_EQ(token_ids_of(packet.preamble.sink_token_ids), (std::vector<int32_t>{70000}));
  EXPECT_EQ(token_ids_of(packet.reread_token_ids), (std::vector<int32_t>{70012, 70015}));
  ASSERT_EQ(packet.chunks.size(), 2u);
  EXPECT_EQ(token_ids_of(packet.chunks[0].token_ids), (std::vector<int32_t>{70003, 70006}));
  // Rows of 40: two blocks for keys, two for values.
  EXPECT_EQ(bytes_of(packet.chunks[0].scales), (Bytes{111, 112, 113, 114, 112, 113, 114, 115}));
  EXPECT_EQ(bytes_of(packet.chunks[1].codes), example_codes(packet.header, 3, 1));
}

}  // namespace
}  // namespace kvalign::testing
