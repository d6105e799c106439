// What a writer was given, a reader returns: for every kind of packet, whole and in pieces.
#include <gtest/gtest.h>

#include "tests/support/packet_examples.h"
#include "tests/support/packet_records.h"

namespace kvalign::testing {
namespace {

Bytes bytes_of(ByteView view) {
  return Bytes(view.data, view.data + view.size);
}

PacketHeader header_of(PacketContent content, PacketElement element, PacketScales scales) {
  PacketHeader header;
  header.content = content;
  header.element = element;
  header.scales = scales;
  if (content == PacketContent::kLatent) {
    header.rank = 33;
    header.encoder_id = example_id(100);
  } else {
    header.num_layers = content == PacketContent::kFlatCache ? 1 : 3;
    header.num_kv_heads = 2;
    header.head_dim = 17;
  }
  header.geometry_id = example_id(7);
  header.position_offset = 123;
  header.num_tokens = 11;
  return header;
}

// Every kind that lay_out_packet() accepts, with several cuts into chunks.
std::vector<PacketHeader> all_headers() {
  struct Cut {
    uint32_t chunk_tokens, num_sinks, num_reread;
    PacketTokenIds token_ids;
  };
  const Cut cuts[] = {{1, 0, 0, PacketTokenIds::kAll},
                      {4, 4, 3, PacketTokenIds::kRecomputed},
                      {5, 4, 1, PacketTokenIds::kAll},
                      {100, 0, 0, PacketTokenIds::kRecomputed},
                      {3, 4, 7, PacketTokenIds::kAll}};
  std::vector<PacketHeader> headers;
  for (int content = 1; content <= 3; ++content) {
    for (int element = 1; element <= 5; ++element) {
      for (int scales = 0; scales <= 5; ++scales) {
        for (const Cut& cut : cuts) {
          PacketHeader header =
              header_of(static_cast<PacketContent>(content), static_cast<PacketElement>(element),
                        static_cast<PacketScales>(scales));
          header.chunk_tokens = cut.chunk_tokens;
          header.num_sinks = cut.num_sinks;
          header.num_reread = cut.num_reread;
          header.token_ids = cut.token_ids;
          PacketLayout layout;
          if (lay_out_packet(header, layout) == PacketStatus::kOk) headers.push_back(header);
        }
      }
    }
  }
  return headers;
}

// Caches of both sorts: 2 FP8 formats with 6 granularities and 3 wider types; latents: one less.
TEST(PacketRoundTrip, CoversEveryKind) {
  EXPECT_EQ(all_headers().size(), 5u * (15 + 15 + 13));
}

TEST(PacketRoundTrip, ReturnsWhatWasWritten) {
  for (const PacketHeader& header : all_headers()) {
    const Bytes bytes = example_packet(header);
    ASSERT_FALSE(bytes.empty());
    EXPECT_EQ(check_packet(view_of(bytes)), PacketStatus::kOk);
    ReadPacket packet;
    ASSERT_EQ(read_whole(view_of(bytes), packet), PacketStatus::kOk);

    PacketLayout layout;
    lay_out_packet(header, layout);
    EXPECT_EQ(bytes_of(packet.preamble.static_scales),
              example_floats(1, layout.static_scale_bytes));
    EXPECT_EQ(token_ids_of(packet.preamble.sink_token_ids), example_token_ids(0, header.num_sinks));
    uint32_t first = header.num_sinks;
    for (const PacketChunk& chunk : packet.chunks) {
      EXPECT_EQ(chunk.first_token, first);
      EXPECT_EQ(bytes_of(chunk.scales), example_scales(header, first, chunk.num_tokens));
      EXPECT_EQ(bytes_of(chunk.codes), example_codes(header, first, chunk.num_tokens));
      const bool all = header.token_ids == PacketTokenIds::kAll;
      EXPECT_EQ(token_ids_of(chunk.token_ids),
                example_token_ids(first, all ? chunk.num_tokens : 0));
      first += chunk.num_tokens;
    }
    EXPECT_EQ(first, header.num_tokens - header.num_reread);
    EXPECT_EQ(token_ids_of(packet.reread_token_ids),
              example_token_ids(header.num_tokens - header.num_reread, header.num_reread));
    EXPECT_EQ(write_again(packet), bytes);  // every field of the header as well
  }
}

TEST(PacketRoundTrip, InPiecesIsAsWhole) {
  for (const PacketHeader& header :
       {latent_header(), token_scales_header(), block_scales_header()}) {
    const Bytes bytes = example_packet(header);
    for (const size_t piece : {1, 2, 3, 19, 20, 131, 132, 133, 1000}) {
      ReadPacket packet;
      ASSERT_EQ(read_in_pieces(view_of(bytes), piece, packet), PacketStatus::kOk) << piece;
      EXPECT_EQ(write_again(packet), bytes);
    }
  }
}

TEST(PacketReader, SaysHowManyBytesTheNextRecordTakes) {
  const Bytes bytes = example_packet(block_scales_header());
  PacketReader reader;
  ReadPacket packet;
  ByteView rest = view_of(bytes);
  for (uint64_t record = 0; record < 5; ++record) {
    const uint64_t wanted = reader.bytes_wanted();
    ASSERT_LE(wanted, rest.size);
    ByteView one_less{rest.data, wanted - 1};
    EXPECT_TRUE(is_truncated(read_record(reader, record, one_less, packet)));
    EXPECT_EQ(one_less.size, wanted - 1);  // nothing was taken
    ByteView exactly{rest.data, wanted};
    EXPECT_EQ(read_record(reader, record, exactly, packet), PacketStatus::kOk);
    EXPECT_EQ(exactly.size, 0u);
    rest = {rest.data + wanted, rest.size - wanted};
  }
  EXPECT_EQ(rest.size, 0u);
  EXPECT_EQ(reader.bytes_wanted(), 0u);
}

}  // namespace
}  // namespace kvalign::testing
