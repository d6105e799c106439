// The header's fields in their order, once, for writing and for reading.
#include "packet_header.h"

#include <cstring>
#include <type_traits>

#include "kvalign/format/checksum.h"

namespace kvalign {
namespace {

// The first bytes of PNG's signature, with another name: a bit 7, both line ends and an end of
// file.
constexpr uint8_t kMagic[8] = {0x89, 'K', 'V', 'P', 0x0D, 0x0A, 0x1A, 0x0A};
constexpr size_t kVersionOffset = sizeof kMagic;
constexpr size_t kHeaderSizeOffset = kVersionOffset + 2;
constexpr size_t kFieldsOffset = kHeaderSizeOffset + 2;

// Header is PacketHeader or const PacketHeader; packet_bytes is the same of a uint64_t.
template <class Header, class PacketBytes, class Field>
void visit_fields(Header& header, PacketBytes& packet_bytes, Field&& field) {
  field(header.content);
  field(header.element);
  field(header.scales);
  field(header.token_ids);
  field(header.num_layers);
  field(header.num_kv_heads);
  field(header.head_dim);
  field(header.rank);
  field(header.num_tokens);
  field(header.chunk_tokens);
  field(header.num_sinks);
  field(header.num_reread);
  field(header.position_offset);
  field(packet_bytes);
  field(header.geometry_id);
  field(header.encoder_id);
}

class StoreField {
 public:
  explicit StoreField(uint8_t* bytes) : bytes_(bytes) {}

  void operator()(const PacketId& id) {
    std::memcpy(bytes_, id.data(), id.size());
    bytes_ += id.size();
  }
  template <class Value>
  void operator()(const Value& value) {
    if constexpr (std::is_enum_v<Value>) {
      (*this)(static_cast<std::underlying_type_t<Value>>(value));
    } else {
      store_little_endian(bytes_, value);
      bytes_ += sizeof(Value);
    }
  }

 private:
  uint8_t* bytes_;
};

class LoadField {
 public:
  explicit LoadField(const uint8_t* bytes) : bytes_(bytes) {}

  void operator()(PacketId& id) {
    std::memcpy(id.data(), bytes_, id.size());
    bytes_ += id.size();
  }
  template <class Value>
  void operator()(Value& value) {
    if constexpr (std::is_enum_v<Value>) {
      std::underlying_type_t<Value> number{};
      (*this)(number);
      value = static_cast<Value>(number);
    } else {
      value = load_little_endian<Value>(bytes_);
      bytes_ += sizeof(Value);
    }
  }

 private:
  const uint8_t* bytes_;
};

}  // namespace

void seal_record(uint8_t* record, uint64_t bytes) noexcept {
  const uint64_t covered = bytes - kPacketChecksumBytes;
  store_little_endian(record + covered, crc32c(record, covered));
}

bool is_sealed(const uint8_t* record, uint64_t bytes) noexcept {
  const uint64_t covered = bytes - kPacketChecksumBytes;
  return load_little_endian<uint32_t>(record + covered) == crc32c(record, covered);
}

void store_packet_header(const PacketHeader& header, const PacketLayout& layout,
                         uint8_t* bytes) noexcept {
  std::memcpy(bytes, kMagic, sizeof kMagic);
  store_little_endian(bytes + kVersionOffset, kPacketVersion);
  store_little_endian(bytes + kHeaderSizeOffset, static_cast<uint16_t>(kPacketHeaderBytes));
  visit_fields(header, layout.packet_bytes, StoreField(bytes + kFieldsOffset));
  seal_record(bytes, kPacketHeaderBytes);
}

PacketStatus load_packet_header(ByteView input, PacketHeader& header,
                                PacketLayout& layout) noexcept {
  // What is not a packet, or a newer one, is named as such even where it is shorter than a header.
  if (input.size < kFieldsOffset) return PacketStatus::kTruncatedHeader;
  if (std::memcmp(input.data, kMagic, sizeof kMagic) != 0) return PacketStatus::kWrongMagic;
  if (load_little_endian<uint16_t>(input.data + kVersionOffset) != kPacketVersion) {
    return PacketStatus::kWrongVersion;
  }
  if (load_little_endian<uint16_t>(input.data + kHeaderSizeOffset) != kPacketHeaderBytes) {
    return PacketStatus::kWrongHeaderSize;
  }
  if (input.size < kPacketHeaderBytes) return PacketStatus::kTruncatedHeader;
  if (!is_sealed(input.data, kPacketHeaderBytes)) return PacketStatus::kHeaderChecksum;
  uint64_t packet_bytes = 0;
  visit_fields(header, packet_bytes, LoadField(input.data + kFieldsOffset));
  const PacketStatus status = lay_out_packet(header, layout);
  if (status != PacketStatus::kOk) return status;
  return packet_bytes == layout.packet_bytes ? PacketStatus::kOk : PacketStatus::kWrongPacketSize;
}

}  // namespace kvalign
