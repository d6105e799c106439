// Feeds bytes to the packet reader, as they are and with checksums and sizes that fit. Whatever
// they are, it reads them or returns a status; it says the same of a packet that arrives in pieces;
// and what it accepts is, to the byte, what the writer makes of it. The entry point is libFuzzer's
// (clang++ -fsanitize=fuzzer); tests/fuzz/mutate.cpp drives it with g++.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "kvalign/format/checksum.h"
#include "tests/support/packet_records.h"

namespace {

using namespace kvalign;

// Shorter than most records and prime to their sizes, so that pieces end everywhere.
constexpr size_t kPieceBytes = 37;

void require(bool holds) {
  if (!holds) std::abort();  // what a fuzzer takes for a finding
}

// Reads every byte that was handed out, so that the sanitiser sees all ranges.
uint32_t touch_everything(const testing::ReadPacket& packet) {
  uint32_t sum = crc32c(packet.preamble.static_scales.data, packet.preamble.static_scales.size);
  sum ^= crc32c(packet.preamble.sink_token_ids.data, packet.preamble.sink_token_ids.size);
  for (const PacketChunk& chunk : packet.chunks) {
    sum ^= crc32c(chunk.token_ids.data, chunk.token_ids.size);
    sum ^= crc32c(chunk.scales.data, chunk.scales.size);
    sum ^= crc32c(chunk.codes.data, chunk.codes.size);
  }
  return sum ^ crc32c(packet.reread_token_ids.data, packet.reread_token_ids.size);
}

void read_and_compare(const std::vector<uint8_t>& bytes) {
  const ByteView view{bytes.data(), bytes.size()};
  testing::ReadPacket whole;
  testing::ReadPacket pieces;
  const PacketStatus status = testing::read_whole(view, whole);
  require(status == check_packet(view));
  require(status == testing::read_in_pieces(view, kPieceBytes, pieces));
  require(whole.chunks.size() == pieces.chunks.size());
  require(touch_everything(whole) == touch_everything(pieces));
  if (status == PacketStatus::kOk) require(testing::write_again(whole) == bytes);
}

// Checksums that fit, and the packet size that the header's other values ask for.
void mend_packet(std::vector<uint8_t>& packet) {
  constexpr size_t kPacketBytesAt = 56;
  testing::seal_records(packet);
  PacketReader reader;
  ByteView input{packet.data(), packet.size()};
  if (reader.open(input) != PacketStatus::kWrongPacketSize) return;
  store_little_endian(packet.data() + kPacketBytesAt, reader.layout().packet_bytes);
  testing::seal_records(packet);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  // A vector of its own: exactly as long as the input, so that any read behind it is seen.
  std::vector<uint8_t> packet(bytes, bytes + size);
  read_and_compare(packet);
  mend_packet(packet);
  read_and_compare(packet);
  return 0;
}
