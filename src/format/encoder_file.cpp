// The encoder file: layout, writer, reader.
#include "kvalign/format/encoder_file.h"

#include <cstring>

#include "kvalign/format/checksum.h"
#include "kvalign/format/fp8_scale.h"

namespace kvalign {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "mapped files are used where they lie");

constexpr uint8_t kMagic[8] = {0x89, 'K', 'V', 'E', '\r', '\n', 0x1A, '\n'};
constexpr size_t kPayloadChecksum = 112;  // offset
constexpr size_t kHeaderChecksum = 124;   // offset

constexpr uint64_t round_up(uint64_t number, uint64_t multiple) {
  return (number + multiple - 1) / multiple * multiple;
}

bool wire_is_known(const EncoderFileHeader& header) noexcept {
  const PacketElement element = header.wire_element;
  if (element == PacketElement::kE4M3FN || element == PacketElement::kE5M2) {
    return is_fp8_scale(header.wire_scale,
                        element == PacketElement::kE4M3FN ? Fp8Format::kE4M3FN : Fp8Format::kE5M2);
  }
  return element >= PacketElement::kF16 && element <= PacketElement::kF32 && header.wire_scale == 1;
}

bool all_finite(const float* numbers, uint64_t count) noexcept {
  uint32_t largest = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const uint32_t magnitude = bits_of_float(numbers[i]) & 0x7FFFFFFF;
    largest = largest > magnitude ? largest : magnitude;
  }
  return largest < 0x7F800000;
}

bool streams_are_right(const EncoderFileHeader& header, const uint32_t* streams) noexcept {
  for (uint32_t i = 0; i < header.num_streams; ++i) {
    if (streams[i] >= header.sender_streams()) return false;
  }
  return true;
}

void store_header(const EncoderFileHeader& header, uint64_t file_bytes, uint8_t* bytes) noexcept {
  std::memcpy(bytes, kMagic, sizeof kMagic);
  store_little_endian(bytes + 8, kEncoderFileVersion);
  store_little_endian(bytes + 10, static_cast<uint16_t>(kEncoderFileHeaderBytes));
  bytes[12] = header.is_flat ? 1 : 0;
  bytes[13] = static_cast<uint8_t>(header.wire_element);
  store_little_endian(bytes + 16, header.num_layers);
  store_little_endian(bytes + 20, header.num_kv_heads);
  store_little_endian(bytes + 24, header.head_dim);
  store_little_endian(bytes + 28, header.rank);
  store_little_endian(bytes + 32, header.num_streams);
  store_little_endian(bytes + 36, bits_of_float(header.wire_scale));
  store_little_endian(bytes + 40, file_bytes);
  std::memcpy(bytes + 48, header.geometry_id.data(), header.geometry_id.size());
  std::memcpy(bytes + 80, header.encoder_id.data(), header.encoder_id.size());
}

EncoderFileHeader load_header(const uint8_t* bytes) noexcept {
  EncoderFileHeader header;
  header.is_flat = bytes[12] != 0;
  header.wire_element = static_cast<PacketElement>(bytes[13]);
  header.num_layers = load_little_endian<uint32_t>(bytes + 16);
  header.num_kv_heads = load_little_endian<uint32_t>(bytes + 20);
  header.head_dim = load_little_endian<uint32_t>(bytes + 24);
  header.rank = load_little_endian<uint32_t>(bytes + 28);
  header.num_streams = load_little_endian<uint32_t>(bytes + 32);
  header.wire_scale = float_of_bits(load_little_endian<uint32_t>(bytes + 36));
  std::memcpy(header.geometry_id.data(), bytes + 48, header.geometry_id.size());
  std::memcpy(header.encoder_id.data(), bytes + 80, header.encoder_id.size());
  return header;
}

EncoderFileStatus check_header_record(ByteView bytes) noexcept {
  if (reinterpret_cast<uintptr_t>(bytes.data) % kEncoderFileAlignment != 0) {
    return EncoderFileStatus::kNotAligned;
  }
  if (bytes.size < kEncoderFileHeaderBytes) return EncoderFileStatus::kTruncated;
  if (std::memcmp(bytes.data, kMagic, sizeof kMagic) != 0) return EncoderFileStatus::kWrongMagic;
  if (load_little_endian<uint16_t>(bytes.data + 8) != kEncoderFileVersion) {
    return EncoderFileStatus::kWrongVersion;
  }
  if (load_little_endian<uint32_t>(bytes.data + kHeaderChecksum) !=
      crc32c(bytes.data, kHeaderChecksum)) {
    return EncoderFileStatus::kHeaderChecksum;
  }
  return EncoderFileStatus::kOk;
}

EncoderFileStatus check_size(ByteView bytes, uint64_t file_bytes) noexcept {
  if (load_little_endian<uint64_t>(bytes.data + 40) != file_bytes) {
    return EncoderFileStatus::kWrongFileSize;
  }
  if (bytes.size < file_bytes) return EncoderFileStatus::kTruncated;
  return bytes.size == file_bytes ? EncoderFileStatus::kOk : EncoderFileStatus::kTrailingBytes;
}

uint32_t payload_checksum(const uint8_t* bytes, uint64_t file_bytes) noexcept {
  return crc32c(bytes + kEncoderFileHeaderBytes, file_bytes - kEncoderFileHeaderBytes);
}

}  // namespace

EncoderFileStatus lay_out_encoder_file(const EncoderFileHeader& header,
                                       EncoderFileLayout& layout) noexcept {
  if (header.num_layers == 0 || header.num_kv_heads == 0 || header.head_dim == 0 ||
      header.rank == 0 || header.num_streams == 0 || (header.is_flat && header.num_layers != 1)) {
    return EncoderFileStatus::kWrongShape;
  }
  if (!wire_is_known(header)) return EncoderFileStatus::kUnknownWire;
  if (header.encoder_id == PacketId{}) return EncoderFileStatus::kNoEncoderId;

  EncoderFileLayout result;
  uint64_t weights_bytes = 0;
  const uint64_t width = uint64_t{header.num_kv_heads} * header.head_dim;
  // 2^56 features are more than any file has, and leave room to round up.
  if (__builtin_mul_overflow(width, uint64_t{header.num_streams}, &result.num_features) ||
      result.num_features > uint64_t{1} << 56) {
    return EncoderFileStatus::kSizeOverflow;
  }
  result.row_floats = round_up(result.num_features, kEncoderRowFloats);
  result.bias_offset =
      kEncoderFileHeaderBytes + round_up(uint64_t{4} * header.num_streams, kEncoderFileAlignment);
  result.weights_offset =
      result.bias_offset + round_up(uint64_t{4} * header.rank, kEncoderFileAlignment);
  if (__builtin_mul_overflow(result.row_floats * 4, uint64_t{header.rank}, &weights_bytes) ||
      __builtin_add_overflow(result.weights_offset, weights_bytes, &result.file_bytes) ||
      result.file_bytes > SIZE_MAX / 2) {
    return EncoderFileStatus::kSizeOverflow;
  }
  layout = result;
  return EncoderFileStatus::kOk;
}

EncoderFileStatus write_encoder_file(const EncoderFileHeader& header, const uint32_t* streams,
                                     const float* bias, const float* weights,
                                     uint8_t* bytes) noexcept {
  EncoderFileLayout layout;
  const EncoderFileStatus status = lay_out_encoder_file(header, layout);
  if (status != EncoderFileStatus::kOk) return status;
  if (!streams_are_right(header, streams)) return EncoderFileStatus::kWrongStream;
  if (!all_finite(bias, header.rank) || !all_finite(weights, header.rank * layout.num_features)) {
    return EncoderFileStatus::kNotFinite;
  }
  std::memset(bytes, 0, layout.file_bytes);
  store_header(header, layout.file_bytes, bytes);
  std::memcpy(bytes + kEncoderFileHeaderBytes, streams, uint64_t{4} * header.num_streams);
  std::memcpy(bytes + layout.bias_offset, bias, uint64_t{4} * header.rank);
  for (uint64_t row = 0; row < header.rank; ++row) {
    std::memcpy(bytes + layout.weights_offset + 4 * row * layout.row_floats,
                weights + row * layout.num_features, 4 * layout.num_features);
  }
  store_little_endian(bytes + kPayloadChecksum, payload_checksum(bytes, layout.file_bytes));
  store_little_endian(bytes + kHeaderChecksum, crc32c(bytes, kHeaderChecksum));
  return EncoderFileStatus::kOk;
}

EncoderFileStatus read_encoder_file(ByteView bytes, EncoderFile& file) noexcept {
  EncoderFileStatus status = check_header_record(bytes);
  if (status != EncoderFileStatus::kOk) return status;
  const bool size_is_right =
      load_little_endian<uint16_t>(bytes.data + 10) == kEncoderFileHeaderBytes;
  if (!size_is_right || bytes.data[12] > 1) return EncoderFileStatus::kWrongShape;
  EncoderFile result;
  result.header = load_header(bytes.data);
  status = lay_out_encoder_file(result.header, result.layout);
  if (status == EncoderFileStatus::kOk) status = check_size(bytes, result.layout.file_bytes);
  if (status != EncoderFileStatus::kOk) return status;
  if (load_little_endian<uint32_t>(bytes.data + kPayloadChecksum) !=
      payload_checksum(bytes.data, result.layout.file_bytes)) {
    return EncoderFileStatus::kPayloadChecksum;
  }
  result.streams = reinterpret_cast<const uint32_t*>(bytes.data + kEncoderFileHeaderBytes);
  result.bias = reinterpret_cast<const float*>(bytes.data + result.layout.bias_offset);
  result.weights = reinterpret_cast<const float*>(bytes.data + result.layout.weights_offset);
  if (!streams_are_right(result.header, result.streams)) return EncoderFileStatus::kWrongStream;
  if (!all_finite(result.bias, result.header.rank) ||
      !all_finite(result.weights, result.header.rank * result.layout.row_floats)) {
    return EncoderFileStatus::kNotFinite;
  }
  file = result;
  return EncoderFileStatus::kOk;
}

}  // namespace kvalign
