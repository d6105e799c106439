// The encoder file: the golden one is read and written alike, and each kind of damage has its
// status.
#include "kvalign/format/encoder_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <vector>

#include "kvalign/format/checksum.h"
#include "kvalign/format/fp8.h"
#include "tests/support/packet_examples.h"

namespace kvalign::testing {
namespace {

// The formula of tests/golden/make_encoder.py.
float golden_number(uint64_t place) {
  const auto number = static_cast<uint32_t>(place * 2654435761u + 12345) >> 9;
  return (static_cast<float>(number) - 0x1p22f) / 0x1p22f;
}

EncoderFileHeader golden_header() {
  EncoderFileHeader header;
  header.num_layers = 2;
  header.num_kv_heads = 2;
  header.head_dim = 18;
  header.rank = 24;
  header.num_streams = 3;
  header.wire_scale = 1.0f / 16;
  header.geometry_id = example_id(0);
  header.encoder_id = example_id(32);
  return header;
}

class EncoderFileTest : public ::testing::Test {
 protected:
  EncoderFileTest() {
    std::ifstream file("tests/golden/encoder_v1.bin", std::ios::binary);
    golden_.assign(std::istreambuf_iterator<char>(file), {});
    for (uint64_t i = 0; i < 24; ++i) bias_.push_back(golden_number(i));
    for (uint64_t i = 0; i < 24 * 108; ++i) weights_.push_back(golden_number(1000 + i));
  }

  // Reads a copy at a multiple of 64, which lives as long as the test.
  EncoderFileStatus read(const Bytes& bytes, EncoderFile& file) {
    memory_.reset(new (std::align_val_t(64)) uint8_t[bytes.size() + 1]);
    std::memcpy(memory_.get(), bytes.data(), bytes.size());
    return read_encoder_file({memory_.get(), bytes.size()}, file);
  }
  EncoderFileStatus status_after(const std::function<void(Bytes&)>& change, bool seal = true) {
    Bytes bytes = golden_;
    change(bytes);
    if (seal) {
      store_little_endian(&bytes[112], crc32c(bytes.data() + 128, bytes.size() - 128));
      store_little_endian(&bytes[124], crc32c(bytes.data(), 124));
    }
    EncoderFile file;
    return read(bytes, file);
  }
  EncoderFileStatus write(const EncoderFileHeader& header, Bytes& bytes) {
    return write_encoder_file(header, streams_.data(), bias_.data(), weights_.data(), bytes.data());
  }

  struct Free {
    void operator()(uint8_t* memory) const { operator delete[](memory, std::align_val_t(64)); }
  };
  std::unique_ptr<uint8_t[], Free> memory_;
  Bytes golden_;
  std::vector<uint32_t> streams_{2, 0, 3};
  std::vector<float> bias_, weights_;
};

TEST_F(EncoderFileTest, TheGoldenFileIsWrittenAgain) {
  EncoderFileLayout layout;
  ASSERT_EQ(lay_out_encoder_file(golden_header(), layout), EncoderFileStatus::kOk);
  Bytes bytes(layout.file_bytes);
  ASSERT_EQ(write(golden_header(), bytes), EncoderFileStatus::kOk);
  EXPECT_EQ(bytes, golden_);
}

TEST_F(EncoderFileTest, TheGoldenFileIsRead) {
  EncoderFile file;
  ASSERT_EQ(read(golden_, file), EncoderFileStatus::kOk);
  EXPECT_EQ(file.header.num_layers, 2u);
  EXPECT_EQ(file.header.rank, 24u);
  EXPECT_EQ(file.header.wire_scale, 0.0625f);
  EXPECT_EQ(file.header.encoder_id, example_id(32));
  EXPECT_EQ(file.layout.num_features, 108u);
  EXPECT_EQ(file.layout.row_floats, 112u);
  EXPECT_EQ(std::vector<uint32_t>(file.streams, file.streams + 3), streams_);
  EXPECT_EQ(file.bias[23], bias_[23]);
  EXPECT_EQ(file.weights[23 * 112 + 107], weights_.back());
  EXPECT_EQ(file.weights[23 * 112 + 108], 0.0f);
}

TEST_F(EncoderFileTest, EachKindOfDamageHasItsStatus) {
  using Status = EncoderFileStatus;
  const auto byte = [](size_t offset, int value) {
    return [=](Bytes& bytes) { bytes[offset] = static_cast<uint8_t>(value); };
  };
  EXPECT_EQ(status_after(byte(0, 0), false), Status::kWrongMagic);
  EXPECT_EQ(status_after(byte(8, 2), false), Status::kWrongVersion);
  EXPECT_EQ(status_after(byte(13, 5), false), Status::kHeaderChecksum);
  EXPECT_EQ(status_after(byte(10, 64)), Status::kWrongShape);
  EXPECT_EQ(status_after(byte(12, 2)), Status::kWrongShape);
  EXPECT_EQ(status_after(byte(12, 1)), Status::kWrongShape);  // flat, of two layers
  EXPECT_EQ(status_after(byte(28, 0)), Status::kWrongShape);
  EXPECT_EQ(status_after(byte(32, 0)), Status::kWrongShape);
  EXPECT_EQ(status_after(byte(13, 0)), Status::kUnknownWire);
  EXPECT_EQ(status_after(byte(13, 6)), Status::kUnknownWire);
  EXPECT_EQ(status_after(byte(13, 5)), Status::kUnknownWire);     // a scale of 1/16 for float32
  EXPECT_EQ(status_after(byte(39, 0xBD)), Status::kUnknownWire);  // a negative scale
  EXPECT_EQ(status_after([](Bytes& b) { std::memset(&b[80], 0, 32); }), Status::kNoEncoderId);
  EXPECT_EQ(status_after([](Bytes& b) { std::memset(&b[16], 0x7F, 20); }), Status::kSizeOverflow);
  EXPECT_EQ(status_after(byte(29, 1)), Status::kWrongFileSize);
  EXPECT_EQ(status_after(byte(40, 0)), Status::kWrongFileSize);
  EXPECT_EQ(status_after([](Bytes& b) { b.resize(127); }, false), Status::kTruncated);
  EXPECT_EQ(status_after([](Bytes& b) { b.pop_back(); }), Status::kTruncated);
  EXPECT_EQ(status_after([](Bytes& b) { b.push_back(0); }), Status::kTrailingBytes);
  EXPECT_EQ(status_after(byte(5000, 1), false), Status::kPayloadChecksum);
  EXPECT_EQ(status_after(byte(128, 4)), Status::kWrongStream);
  EXPECT_EQ(status_after([](Bytes& b) { store_little_endian(&b[192], 0xFF800000u); }),
            Status::kNotFinite);
  EXPECT_EQ(status_after([](Bytes& b) { store_little_endian(&b[b.size() - 4], 0x7FC00000u); }),
            Status::kNotFinite);
  EncoderFile file;
  read(golden_, file);
  EXPECT_EQ(read_encoder_file({memory_.get() + 1, golden_.size() - 1}, file), Status::kNotAligned);
}

TEST_F(EncoderFileTest, EveryBitIsGuarded) {
  for (size_t offset = 0; offset < 200; ++offset) {
    for (int bit = 0; bit < 8; ++bit) {
      ASSERT_NE(status_after([=](Bytes& b) { b[offset] ^= 1 << bit; }, false),
                EncoderFileStatus::kOk)
          << offset;
    }
  }
}

TEST_F(EncoderFileTest, TheWriterRefusesWhatTheReaderWould) {
  Bytes bytes(golden_.size(), 7);
  const Bytes before = bytes;
  EncoderFileHeader header = golden_header();
  header.encoder_id = {};
  EXPECT_EQ(write(header, bytes), EncoderFileStatus::kNoEncoderId);
  streams_[1] = 4;
  EXPECT_EQ(write(golden_header(), bytes), EncoderFileStatus::kWrongStream);
  streams_[1] = 0;
  weights_.back() = NAN;
  EXPECT_EQ(write(golden_header(), bytes), EncoderFileStatus::kNotFinite);
  weights_.back() = 0;
  bias_[0] = INFINITY;
  EXPECT_EQ(write(golden_header(), bytes), EncoderFileStatus::kNotFinite);
  EXPECT_EQ(bytes, before);
}

}  // namespace
}  // namespace kvalign::testing
