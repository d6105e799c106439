// Damaged packets, each with the status that names the damage. Where a checksum would hide a lie,
// it is mended: then the lie itself has to be noticed.
#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "tests/support/packet_examples.h"
#include "tests/support/packet_records.h"

namespace kvalign::testing {
namespace {

struct Case {
  std::string what;
  PacketStatus expected;
  PacketStatus got;
};

// The status of a packet, read whole; from pieces it must be the same.
PacketStatus status_of(const Bytes& packet) {
  // A vector of its own size, so that sanitisers see any read behind it.
  const Bytes exact(packet.begin(), packet.end());
  const PacketStatus status = check_packet(view_of(exact));
  ReadPacket pieces;
  EXPECT_EQ(read_in_pieces(view_of(exact), 7, pieces), status) << packet_status_text(status);
  return status;
}

// `packet` with a number at an offset, and checksums that fit.
template <class Number>
PacketStatus status_with(Bytes packet, size_t offset, Number number) {
  store_little_endian(packet.data() + offset, number);
  seal_records(packet);
  return status_of(packet);
}

template <class Number>
void add_lies(std::vector<Case>& cases, const Bytes& packet, const std::string& what,
              PacketStatus expected, size_t offset, std::initializer_list<Number> numbers) {
  for (const Number number : numbers) {
    cases.push_back({what + " of " + std::to_string(number), expected,
                     status_with<Number>(packet, offset, number)});
  }
}

Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes whole;
  for (const Bytes& part : parts) whole.insert(whole.end(), part.begin(), part.end());
  return whole;
}

// The records of the packet with token scales: 3 chunks of 2, 2 and 1 tokens.
struct Records {
  Bytes head, first, second, third, end;

  Records() {
    const Bytes whole = example_packet(token_scales_header());
    const auto cut = [&](size_t begin, size_t end) {
      return Bytes(whole.begin() + begin, whole.begin() + end);
    };
    head = cut(0, 136);  // header and an empty preamble
    first = cut(136, 224);
    second = cut(224, 312);
    third = cut(312, 368);
    end = cut(368, 380);
  }
};

// Offsets of the header's fields, from the table in packet.h.
constexpr size_t kVersionAt = 8, kHeaderBytesAt = 10, kContentAt = 12, kElementAt = 13,
                 kScalesAt = 14, kTokenIdsAt = 15, kLayersAt = 16, kHeadsAt = 20, kHeadDimAt = 24,
                 kRankAt = 28, kTokensAt = 32, kChunkTokensAt = 36, kSinksAt = 40, kRereadAt = 44,
                 kPositionAt = 48, kPacketBytesAt = 56, kEncoderAt = 96;

std::vector<Case> kind_cases() {
  const Bytes latent = example_packet(latent_header());
  const Bytes cache = example_packet(token_scales_header());
  std::vector<Case> cases;
  using S = PacketStatus;
  add_lies<uint64_t>(cases, latent, "magic", S::kWrongMagic, 0, {0, UINT64_MAX});
  add_lies<uint16_t>(cases, latent, "version", S::kWrongVersion, kVersionAt, {0, 2, 0xFFFF});
  add_lies<uint16_t>(cases, latent, "header size", S::kWrongHeaderSize, kHeaderBytesAt,
                     {0, 131, 133, 0xFFFF});
  add_lies<uint8_t>(cases, latent, "content", S::kUnknownContent, kContentAt, {0, 4, 0xFF});
  add_lies<uint8_t>(cases, latent, "element", S::kUnknownElement, kElementAt, {0, 6, 0xFF});
  add_lies<uint8_t>(cases, latent, "scales", S::kUnknownScales, kScalesAt, {6, 0xFF});
  add_lies<uint8_t>(cases, latent, "token ids", S::kUnknownTokenIds, kTokenIdsAt, {2, 0xFF});
  add_lies<uint8_t>(cases, latent, "wide element", S::kScalesWithoutFp8, kElementAt, {3, 4, 5});
  add_lies<uint8_t>(cases, latent, "head scales", S::kHeadScalesOfLatent, kScalesAt, {2});
  add_lies<uint8_t>(cases, latent, "latent as content", S::kWrongShape, kContentAt, {1, 2});
  add_lies<uint8_t>(cases, cache, "cache as content", S::kWrongShape, kContentAt, {2, 3});
  for (const size_t at : {kLayersAt, kHeadsAt, kHeadDimAt}) {
    add_lies<uint32_t>(cases, latent, "shape of a latent", S::kWrongShape, at, {1, UINT32_MAX});
    add_lies<uint32_t>(cases, cache, "shape of a cache", S::kWrongShape, at, {0});
  }
  add_lies<uint32_t>(cases, latent, "rank of a latent", S::kWrongShape, kRankAt, {0});
  add_lies<uint32_t>(cases, cache, "rank of a cache", S::kWrongShape, kRankAt, {1, UINT32_MAX});
  add_lies<uint8_t>(cases, cache, "encoder of a cache", S::kWrongEncoderId, kEncoderAt, {1});
  Bytes without_encoder = latent;
  std::fill_n(without_encoder.begin() + kEncoderAt, 32, uint8_t{0});
  seal_records(without_encoder);
  cases.push_back({"no encoder", S::kWrongEncoderId, status_of(without_encoder)});
  return cases;
}

std::vector<Case> number_cases() {
  const Bytes latent = example_packet(latent_header());
  const Bytes cache = example_packet(token_scales_header());
  std::vector<Case> cases;
  using S = PacketStatus;
  add_lies<uint32_t>(cases, latent, "tokens", S::kNoTokens, kTokensAt, {0});
  add_lies<uint32_t>(cases, latent, "tokens", S::kTooManyRecomputed, kTokensAt, {1, 2});
  add_lies<uint32_t>(cases, latent, "tokens", S::kWrongPacketSize, kTokensAt,
                     {6, 8, 1u << 31, UINT32_MAX});
  add_lies<uint32_t>(cases, latent, "chunk tokens", S::kNoChunkTokens, kChunkTokensAt, {0});
  add_lies<uint32_t>(cases, latent, "chunk tokens", S::kWrongChunkTokens, kChunkTokensAt, {2});
  add_lies<uint32_t>(cases, latent, "chunk tokens", S::kWrongPacketSize, kChunkTokensAt,
                     {1, 4, UINT32_MAX});
  add_lies<uint32_t>(cases, latent, "sinks", S::kWrongPacketSize, kSinksAt, {0, 1, 3});
  add_lies<uint32_t>(cases, latent, "sinks", S::kTooManyRecomputed, kSinksAt, {7, UINT32_MAX});
  add_lies<uint32_t>(cases, latent, "reread", S::kWrongPacketSize, kRereadAt, {0, 2});
  add_lies<uint32_t>(cases, latent, "reread", S::kTooManyRecomputed, kRereadAt, {6, UINT32_MAX});
  add_lies<uint32_t>(cases, latent, "rank", S::kWrongPacketSize, kRankAt, {1, 47, 49, UINT32_MAX});
  add_lies<uint32_t>(cases, cache, "layers", S::kWrongPacketSize, kLayersAt, {1, 3, UINT32_MAX});
  add_lies<uint32_t>(cases, cache, "heads", S::kWrongPacketSize, kHeadsAt, {2, UINT32_MAX});
  add_lies<uint32_t>(cases, cache, "head dim", S::kWrongPacketSize, kHeadDimAt, {3, 5, UINT32_MAX});
  add_lies<uint64_t>(cases, latent, "packet size", S::kWrongPacketSize, kPacketBytesAt,
                     {0, 403, 405, INT64_MAX, UINT64_MAX});
  add_lies<uint64_t>(cases, latent, "position", S::kPositionOverflow, kPositionAt,
                     {INT64_MAX - 6, uint64_t{1} << 63, UINT64_MAX});
  add_lies<uint64_t>(cases, latent, "position", S::kOk, kPositionAt, {0, INT64_MAX - 7});
  // Two numbers whose product with the others leaves 64 bits, also to come out as 0 or small.
  add_lies<uint64_t>(cases, cache, "layers and heads", S::kSizeOverflow, kLayersAt,
                     {UINT64_MAX, 0x8000000080000000});
  add_lies<uint64_t>(cases, cache, "heads and head dim", S::kSizeOverflow, kHeadsAt,
                     {UINT64_MAX, 0x8000000080000000});
  return cases;
}

std::vector<Case> record_cases() {
  const Bytes latent = example_packet(latent_header());
  constexpr size_t kPreambleAt = 132, kChunkAt = 148, kEndAt = 388;
  std::vector<Case> cases;
  using S = PacketStatus;
  const auto flipped = [&](size_t offset) {
    Bytes packet = latent;
    packet[offset] ^= 1;
    return status_of(packet);
  };
  cases.push_back({"a flipped bit of the header", S::kHeaderChecksum, flipped(70)});
  cases.push_back({"a flipped bit of the preamble", S::kPreambleChecksum, flipped(kPreambleAt)});
  cases.push_back({"a flipped bit of codes", S::kChunkChecksum, flipped(kChunkAt + 100)});
  cases.push_back({"a flipped bit of the end", S::kEndChecksum, flipped(kEndAt + 8)});
  add_lies<uint32_t>(cases, latent, "chunk mark", S::kWrongChunkMark, kChunkAt, {0, UINT32_MAX});
  add_lies<uint32_t>(cases, latent, "first token", S::kChunkBehind, kChunkAt + 4, {0, 1});
  add_lies<uint32_t>(cases, latent, "first token", S::kChunkAhead, kChunkAt + 4,
                     {3, 5, UINT32_MAX});
  add_lies<uint32_t>(cases, latent, "tokens of a chunk", S::kWrongChunkTokens, kChunkAt + 8,
                     {0, 2, 4, UINT32_MAX});
  add_lies<uint64_t>(cases, latent, "bytes of a chunk", S::kWrongChunkSize, kChunkAt + 12,
                     {0, 143, 145, uint64_t{1} << 63, UINT64_MAX});
  add_lies<uint32_t>(cases, latent, "end mark", S::kWrongEndMark, kEndAt, {0, 0x4B4E4843});
  add_lies<uint32_t>(cases, latent, "chunks", S::kWrongChunkCount, kEndAt + 4,
                     {0, 1, 3, UINT32_MAX});

  const Records r;
  const auto add = [&](const char* what, S expected, std::initializer_list<Bytes> parts) {
    cases.push_back({what, expected, status_of(joined(parts))});
  };
  add("the packet itself", S::kOk, {r.head, r.first, r.second, r.third, r.end});
  add("nothing", S::kTruncatedHeader, {});
  add("a header alone", S::kTruncatedPreamble, {Bytes(r.head.begin(), r.head.begin() + 132)});
  add("no chunks", S::kTruncatedChunk, {r.head});
  add("no end", S::kTruncatedEnd, {r.head, r.first, r.second, r.third});
  add("chunks out of order", S::kChunkAhead, {r.head, r.second, r.first, r.third, r.end});
  add("the first chunk missing", S::kChunkAhead, {r.head, r.second, r.third, r.end});
  add("a chunk missing", S::kChunkAhead, {r.head, r.first, r.third, r.end});
  add("the last chunk missing", S::kEarlyEnd, {r.head, r.first, r.second, r.end});
  add("all chunks missing", S::kEarlyEnd, {r.head, r.end});
  add("a chunk twice", S::kChunkBehind, {r.head, r.first, r.first, r.second, r.third, r.end});
  add("the last chunk twice", S::kWrongEndMark,
      {r.head, r.first, r.second, r.third, r.third, r.end});
  Bytes overlapping = r.second;
  overlapping[4] = 1;  // tokens 1 and 2, after 0 and 1
  add("overlapping chunks", S::kChunkBehind, {r.head, r.first, overlapping, r.third, r.end});
  add("a trailing byte", S::kTrailingBytes, {r.head, r.first, r.second, r.third, r.end, {0}});
  add("the end twice", S::kTrailingBytes, {r.head, r.first, r.second, r.third, r.end, r.end});
  return cases;
}

std::vector<Case> call_cases() {
  std::vector<Case> cases;
  Bytes bytes(1000);
  PacketBuffer buffer{bytes.data(), bytes.size()};
  PacketBuffer small{bytes.data(), 100};
  PacketWriter writer;
  const PacketHeader header = latent_header();
  const Bytes scale = example_floats(1, 4);
  const std::vector<int32_t> sinks = example_token_ids(0, 2);
  using S = PacketStatus;
  cases.push_back({"a default header", S::kWrongShape, writer.begin(PacketHeader(), {}, buffer)});
  cases.push_back({"an end first", S::kWrongCall, writer.finish({}, buffer)});
  cases.push_back({"no scale", S::kWrongPartSize, writer.begin(header, {}, buffer)});
  cases.push_back({"a small buffer", S::kBufferTooSmall,
                   writer.begin(header, {view_of(scale), view_of(sinks)}, small)});
  return cases;
}

TEST(PacketDamage, EveryStatusFiresAndNamesTheDamage) {
  std::set<PacketStatus> seen;
  for (const auto& cases : {kind_cases(), number_cases(), record_cases(), call_cases()}) {
    for (const Case& c : cases) {
      EXPECT_EQ(c.got, c.expected) << c.what << ": got '" << packet_status_text(c.got)
                                   << "', expected '" << packet_status_text(c.expected) << "'";
      seen.insert(c.got);
    }
  }
  for (int i = 0; i < kNumPacketStatuses; ++i) {
    const auto status = static_cast<PacketStatus>(i);
    EXPECT_EQ(seen.count(status), 1u) << "never fired: " << packet_status_text(status);
  }
}

TEST(PacketDamage, EveryStatusHasATextOfItsOwn) {
  std::set<std::string> texts{packet_status_text(static_cast<PacketStatus>(kNumPacketStatuses))};
  for (int i = 0; i < kNumPacketStatuses; ++i) {
    texts.insert(packet_status_text(static_cast<PacketStatus>(i)));
  }
  EXPECT_EQ(texts.size(), static_cast<size_t>(kNumPacketStatuses) + 1);
}

TEST(PacketDamage, EveryTruncationIsNamedByThePartThatIsCut) {
  for (const PacketHeader& header :
       {latent_header(), token_scales_header(), block_scales_header()}) {
    const Bytes whole = example_packet(header);
    PacketLayout layout;
    lay_out_packet(header, layout);
    const size_t preamble_end = kPacketHeaderBytes + layout.preamble_bytes;
    const size_t chunks_end = whole.size() - layout.end_bytes;
    for (size_t size = 0; size < whole.size(); ++size) {
      const PacketStatus expected = size < kPacketHeaderBytes ? PacketStatus::kTruncatedHeader
                                    : size < preamble_end     ? PacketStatus::kTruncatedPreamble
                                    : size < chunks_end       ? PacketStatus::kTruncatedChunk
                                                              : PacketStatus::kTruncatedEnd;
      EXPECT_EQ(status_of(Bytes(whole.begin(), whole.begin() + size)), expected) << size;
    }
  }
}

TEST(PacketDamage, EveryFlippedBitIsNoticed) {
  for (const PacketHeader& header :
       {latent_header(), token_scales_header(), block_scales_header()}) {
    Bytes packet = example_packet(header);
    for (size_t bit = 0; bit < packet.size() * 8; ++bit) {
      packet[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
      EXPECT_NE(status_of(packet), PacketStatus::kOk) << "bit " << bit;
      packet[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    }
  }
}

TEST(PacketDamage, ALostPacketStaysLost) {
  Bytes packet = example_packet(token_scales_header());
  packet[160] ^= 1;  // a scale of the first chunk
  PacketReader reader;
  PacketPreamble preamble;
  PacketChunk chunk;
  ByteView input = view_of(packet);
  ByteView reread;
  EXPECT_EQ(reader.preamble(input, preamble), PacketStatus::kWrongCall);
  EXPECT_EQ(reader.next_chunk(input, chunk), PacketStatus::kWrongCall);
  EXPECT_EQ(reader.finish(input, reread), PacketStatus::kWrongCall);
  ASSERT_EQ(reader.open(input), PacketStatus::kOk);
  EXPECT_EQ(reader.next_chunk(input, chunk), PacketStatus::kWrongCall);
  ASSERT_EQ(reader.preamble(input, preamble), PacketStatus::kOk);
  EXPECT_EQ(reader.finish(input, reread), PacketStatus::kWrongCall);
  EXPECT_EQ(reader.next_chunk(input, chunk), PacketStatus::kChunkChecksum);
  EXPECT_EQ(reader.next_chunk(input, chunk), PacketStatus::kWrongCall);
  EXPECT_EQ(reader.bytes_wanted(), 0u);
}

}  // namespace
}  // namespace kvalign::testing
