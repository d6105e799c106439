// Sizes that follow from a header, worked out by hand, and headers that make no sense.
#include "kvalign/format/packet_layout.h"

#include <gtest/gtest.h>

#include "tests/support/packet_examples.h"

namespace kvalign::testing {
namespace {

PacketLayout layout_of(const PacketHeader& header) {
  PacketLayout layout;
  EXPECT_EQ(lay_out_packet(header, layout), PacketStatus::kOk);
  return layout;
}

// 2 layers, 3 heads of 16: 4 streams of 48 elements.
PacketHeader cache_header(PacketScales scales) {
  PacketHeader header;
  header.scales = scales;
  header.num_layers = 2;
  header.num_kv_heads = 3;
  header.head_dim = 16;
  header.num_tokens = 10;
  header.chunk_tokens = 4;
  return header;
}

TEST(PacketLayout, CountsTheScalesOfEachGranularity) {
  struct Case {
    PacketScales scales;
    uint64_t static_scale_bytes, token_scale_bytes;
  };
  const Case cases[] = {{PacketScales::kNone, 0, 0},
                        {PacketScales::kTensor, 4 * 4, 0},
                        {PacketScales::kHead, 4 * 3 * 4, 0},
                        {PacketScales::kToken, 0, 4 * 4},
                        {PacketScales::kChannel, 4 * 48 * 4, 0},
                        {PacketScales::kBlock32, 0, 4 * 2}};
  for (const Case& c : cases) {
    const PacketLayout layout = layout_of(cache_header(c.scales));
    EXPECT_EQ(layout.static_scale_bytes, c.static_scale_bytes) << static_cast<int>(c.scales);
    EXPECT_EQ(layout.token_scale_bytes, c.token_scale_bytes) << static_cast<int>(c.scales);
    EXPECT_EQ(layout.token_code_bytes, 4u * 48);
  }
}

TEST(PacketLayout, CountsTheBytesOfEachElement) {
  PacketHeader header = cache_header(PacketScales::kNone);
  const uint64_t bytes_of_element[] = {1, 1, 2, 2, 4};
  for (int element = 1; element <= 5; ++element) {
    header.element = static_cast<PacketElement>(element);
    EXPECT_EQ(layout_of(header).token_code_bytes, 4 * 48 * bytes_of_element[element - 1]);
  }
}

TEST(PacketLayout, AFlatCacheIsOneStream) {
  PacketHeader header = cache_header(PacketScales::kToken);
  header.content = PacketContent::kFlatCache;
  header.num_layers = 1;
  EXPECT_EQ(layout_of(header).token_code_bytes, 48u);
  EXPECT_EQ(layout_of(header).token_scale_bytes, 4u);
}

TEST(PacketLayout, CutsTheCodedTokensIntoChunks) {
  struct Case {
    uint32_t num_tokens, num_sinks, num_reread, chunk_tokens, num_chunks, last_tokens;
  };
  const Case cases[] = {{10, 0, 0, 4, 3, 2},
                        {8, 0, 0, 4, 2, 4},
                        {10, 1, 2, 7, 1, 7},
                        {10, 4, 5, 4, 1, 1},
                        {10, 4, 6, 4, 0, 0},
                        {10, 0, 0, UINT32_MAX, 1, 10},
                        {UINT32_MAX, 0, 0, 1u << 31, 2, (1u << 31) - 1}};
  for (const Case& c : cases) {
    PacketHeader header = cache_header(PacketScales::kNone);
    header.num_tokens = c.num_tokens;
    header.num_sinks = c.num_sinks;
    header.num_reread = c.num_reread;
    header.chunk_tokens = c.chunk_tokens;
    const PacketLayout layout = layout_of(header);
    EXPECT_EQ(layout.num_chunks, c.num_chunks);
    if (c.num_chunks > 0) {
      EXPECT_EQ(layout.tokens_of_chunk(c.num_chunks - 1), c.last_tokens);
    }
    uint64_t bytes = kPacketHeaderBytes + layout.preamble_bytes + layout.end_bytes;
    for (uint32_t i = 0; i < layout.num_chunks; ++i) {
      bytes += layout.chunk_bytes(layout.tokens_of_chunk(i));
    }
    EXPECT_EQ(bytes, layout.packet_bytes);
  }
}

TEST(PacketLayout, SaysWhereTheBytesGo) {
  const PacketHeader header = block_scales_header();
  const PacketBytes bytes = packet_bytes_by_part(header, layout_of(header));
  EXPECT_EQ(bytes.header, 128u);
  EXPECT_EQ(bytes.scales, 3u * 4);     // three coded tokens of 2 streams of 2 blocks
  EXPECT_EQ(bytes.token_ids, 6u * 4);  // all tokens
  EXPECT_EQ(bytes.codes, 3u * 80);
  EXPECT_EQ(bytes.framing, 2u * 20 + 8);  // two chunks and the end
  EXPECT_EQ(bytes.checksums, 5u * 4);     // header, preamble, two chunks, end
  EXPECT_EQ(bytes.total(), layout_of(header).packet_bytes);
  EXPECT_EQ(bytes.total(), example_packet(header).size());
  EXPECT_DOUBLE_EQ(bytes.per_token(bytes.codes), 40.0);
}

TEST(PacketLayout, RefusesSizesBeyondTheMachine) {
  PacketLayout layout;
  PacketHeader header = cache_header(PacketScales::kChannel);
  header.num_tokens = 1u << 30;
  header.num_layers = 1u << 16;
  header.num_kv_heads = 1u << 10;
  EXPECT_EQ(lay_out_packet(header, layout), PacketStatus::kOk);  // 2^17 * 2^14 * 2^30: 2^61
  header.head_dim = 64;                                          // 2^63
  EXPECT_EQ(lay_out_packet(header, layout), PacketStatus::kSizeOverflow);
  // Products that come out as zero in 64 bits.
  header.num_layers = 1u << 31;
  header.num_kv_heads = 1u << 31;
  header.head_dim = 4;
  header.num_tokens = 1;
  EXPECT_EQ(lay_out_packet(header, layout), PacketStatus::kSizeOverflow);
  header.num_sinks = 1;  // no codes are sent, but a token of this shape has no size
  EXPECT_EQ(lay_out_packet(header, layout), PacketStatus::kSizeOverflow);
  header.num_layers = header.num_kv_heads = header.head_dim = UINT32_MAX;
  EXPECT_EQ(lay_out_packet(header, layout), PacketStatus::kSizeOverflow);
}

}  // namespace
}  // namespace kvalign::testing
