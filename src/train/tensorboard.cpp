// Event records, byte by byte. Field numbers are those of event.proto and summary.proto:
//   Event    wall_time = 1 (double)   step = 2 (int64)   file_version = 3 (string)   summary = 5
//   Summary  value = 1 (repeated)     Summary.Value  tag = 1 (string)   simple_value = 2 (float)
#include "kvalign/train/tensorboard.h"

#include <bit>
#include <chrono>
#include <concepts>

#include "kvalign/format/checksum.h"

namespace kvalign {

namespace {

// Wire types of protobuf (protobuf.dev/programming-guides/encoding).
constexpr int kVarint = 0;
constexpr int kFixed64 = 1;
constexpr int kBytes = 2;
constexpr int kFixed32 = 5;

template <std::unsigned_integral Integer>
void append_little_endian(std::string& out, Integer value) {
  for (size_t byte = 0; byte < sizeof(Integer); ++byte) {
    out.push_back(static_cast<char>(value >> (8 * byte)));
  }
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void append_key(std::string& out, int field, int wire_type) {
  append_varint(out, static_cast<uint64_t>(field << 3 | wire_type));
}

void append_bytes(std::string& out, int field, const std::string& bytes) {
  append_key(out, field, kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

std::string event_header() {
  const std::chrono::duration<double> time = std::chrono::system_clock::now().time_since_epoch();
  std::string event;
  append_key(event, 1, kFixed64);
  append_little_endian(event, std::bit_cast<uint64_t>(time.count()));
  return event;
}

uint32_t masked_crc32c(const std::string& bytes) {
  const uint32_t crc = crc32c(bytes.data(), bytes.size());
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;  // TensorFlow's crc32c.h, Mask()
}

}  // namespace

EventWriter::EventWriter(const std::string& path, int64_t keep_bytes) : file_(path, keep_bytes) {
  if (keep_bytes > 0) return;
  std::string event = event_header();
  append_bytes(event, 3, "brain.Event:2");
  write_record(event);
}

void EventWriter::scalar(const std::string& tag, int64_t step, float value) {
  std::string point;
  append_bytes(point, 1, tag);
  append_key(point, 2, kFixed32);
  append_little_endian(point, std::bit_cast<uint32_t>(value));
  std::string summary;
  append_bytes(summary, 1, point);

  std::string event = event_header();
  append_key(event, 2, kVarint);
  append_varint(event, static_cast<uint64_t>(step));
  append_bytes(event, 5, summary);
  write_record(event);
}

void EventWriter::write_record(const std::string& data) {
  std::string length;
  append_little_endian(length, uint64_t{data.size()});
  std::string record = length;
  append_little_endian(record, masked_crc32c(length));
  record += data;
  append_little_endian(record, masked_crc32c(data));
  file_.append(record);
}

}  // namespace kvalign
