// Every status fires, by the mistake that it names.
#include <cmath>
#include <functional>
#include <set>

#include "edge_packet.h"
#include "kvalign/format/checksum.h"
#include "kvalign/format/encoder_file.h"

namespace kvalign::testing {
namespace {

const Shape kShape{2, 2, 18};

kvalign_edge_status bytes_status(const kvalign_edge_options& options) {
  size_t bytes = 0;
  return kvalign_edge_encoder_bytes(&options, &bytes);
}

// The status of options after one change.
kvalign_edge_status after(const std::function<void(kvalign_edge_options&)>& change) {
  kvalign_edge_options options = options_for(kShape);
  change(options);
  return bytes_status(options);
}

TEST(EdgeStatus, EveryStatusHasATextOfItsOwn) {
  std::set<std::string> texts;
  for (int status = -1; status <= 100; ++status) texts.insert(kvalign_edge_status_text(status));
  EXPECT_EQ(texts.size(), 1u + 1 + 4 + 11 + 10 + 10 + 4);  // "not a status" and ok, then by groups
  EXPECT_STREQ(kvalign_edge_status_text(KVALIGN_EDGE_OK), "ok");
  EXPECT_STREQ(kvalign_edge_status_text(-1), "not a status");
}

TEST(EdgeStatus, TheLibraryIsOfTheHeadersVersion) {
  EXPECT_EQ(kvalign_edge_abi_version(), static_cast<uint32_t>(KVALIGN_EDGE_ABI_VERSION));
}

TEST(EdgeStatus, OfOptions) {
  using Options = kvalign_edge_options;
  const float frequencies[] = {1.0f, 0.5f, 1.5f, NAN, -0.1f};
  EXPECT_EQ(after([](Options&) {}), KVALIGN_EDGE_OK);
  EXPECT_EQ(after([](Options& o) { o.struct_size -= 4; }), KVALIGN_EDGE_WRONG_STRUCT_SIZE);
  EXPECT_EQ(after([](Options& o) { o.num_layers = 0; }), KVALIGN_EDGE_WRONG_SHAPE);
  EXPECT_EQ(after([](Options& o) { o.num_layers = 0x80000000; }), KVALIGN_EDGE_WRONG_SHAPE);
  EXPECT_EQ(after([](Options& o) { o.num_kv_heads = 0; }), KVALIGN_EDGE_WRONG_SHAPE);
  EXPECT_EQ(after([](Options& o) { o.head_dim = 0; }), KVALIGN_EDGE_WRONG_SHAPE);
  EXPECT_EQ(after([](Options& o) { o.head_dim = 0x40000000; }), KVALIGN_EDGE_WRONG_SHAPE);
  EXPECT_EQ(after([](Options& o) { o.is_flat = 1; }), KVALIGN_EDGE_WRONG_SHAPE);  // two layers
  EXPECT_EQ(after([](Options& o) { o.is_flat = 2; }), KVALIGN_EDGE_UNKNOWN_FLAG);
  EXPECT_EQ(after([](Options& o) { o.all_token_ids = 2; }), KVALIGN_EDGE_UNKNOWN_FLAG);
  EXPECT_EQ(after([](Options& o) { o.element = 0; }), KVALIGN_EDGE_UNKNOWN_ELEMENT);
  EXPECT_EQ(after([](Options& o) { o.element = 257; }), KVALIGN_EDGE_UNKNOWN_ELEMENT);
  EXPECT_EQ(after([](Options& o) { o.scales = 6; }), KVALIGN_EDGE_UNKNOWN_SCALES);
  EXPECT_EQ(after([](Options& o) { o.scales = 256; }), KVALIGN_EDGE_UNKNOWN_SCALES);
  EXPECT_EQ(after([](Options& o) { o.element = KVALIGN_EDGE_F16; }),
            KVALIGN_EDGE_SCALES_WITHOUT_FP8);
  const auto turned = [&](const float* table, uint32_t count) {
    return after([=](Options& o) {
      o.inverse_frequencies = table;
      o.num_inverse_frequencies = count;
    });
  };
  EXPECT_EQ(turned(frequencies, 2), KVALIGN_EDGE_OK);
  EXPECT_EQ(turned(frequencies, 0), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(turned(nullptr, 2), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(turned(frequencies, 10), KVALIGN_EDGE_WRONG_ROTARY_DIM);
  for (int wrong = 2; wrong < 5; ++wrong) {
    EXPECT_EQ(turned(frequencies + wrong, 1), KVALIGN_EDGE_WRONG_INVERSE_FREQUENCY);
  }
  EXPECT_EQ(after([](Options& o) { o.pairing = 2; }), KVALIGN_EDGE_UNKNOWN_PAIRING);
  EXPECT_EQ(after([&](Options& o) {
              o.is_flat = o.num_layers = 1;
              o.inverse_frequencies = frequencies;
              o.num_inverse_frequencies = 1;
            }),
            KVALIGN_EDGE_WRONG_ROTARY_DIM);
}

TEST(EdgeStatus, OfMemory) {
  const kvalign_edge_options options = options_for(kShape);
  size_t bytes = 0;
  EXPECT_EQ(kvalign_edge_encoder_bytes(nullptr, &bytes), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_encoder_bytes(&options, nullptr), KVALIGN_EDGE_NULL_ARGUMENT);
  ASSERT_EQ(kvalign_edge_encoder_bytes(&options, &bytes), KVALIGN_EDGE_OK);
  const AlignedMemory memory(bytes + 64);
  kvalign_edge_encoder* encoder = nullptr;
  EXPECT_EQ(kvalign_edge_encoder_create(&options, nullptr, bytes, &encoder),
            KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_encoder_create(&options, memory.get(), bytes, nullptr),
            KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_encoder_create(nullptr, memory.get(), bytes, &encoder),
            KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_encoder_create(&options, memory.get(), bytes - 1, &encoder),
            KVALIGN_EDGE_MEMORY_TOO_SMALL);
  EXPECT_EQ(
      kvalign_edge_encoder_create(&options, static_cast<char*>(memory.get()) + 8, bytes, &encoder),
      KVALIGN_EDGE_MEMORY_NOT_ALIGNED);
  kvalign_edge_options wrong = options;
  wrong.element = 9;
  EXPECT_EQ(kvalign_edge_encoder_create(&wrong, memory.get(), bytes, &encoder),
            KVALIGN_EDGE_UNKNOWN_ELEMENT);
  EXPECT_EQ(encoder, nullptr);
  EXPECT_EQ(kvalign_edge_encoder_create(&options, memory.get(), bytes, &encoder), KVALIGN_EDGE_OK);
}

// The golden file after one change of its bytes; `seal` gives it right checksums again.
class EdgeFileStatus : public ::testing::Test {
 protected:
  kvalign_edge_status status_of(const std::function<void(Bytes&)>& change, bool seal) {
    Bytes bytes = read_bytes("tests/golden/encoder_v1.bin");
    change(bytes);
    if (seal) {
      store_little_endian(&bytes[112], crc32c(bytes.data() + 128, bytes.size() - 128));
      store_little_endian(&bytes[124], crc32c(bytes.data(), 124));
    }
    const AlignedMemory file = aligned_copy(bytes);
    kvalign_edge_options options = options_for(kShape);
    options.encoder_file = file.get();
    options.encoder_file_bytes = file.size;
    kvalign_edge_file_info info{};
    const kvalign_edge_status status = bytes_status(options);
    const kvalign_edge_status read = kvalign_edge_read_file_info(file.get(), file.size, &info);
    if (status != KVALIGN_EDGE_FILE_OF_ANOTHER_GEOMETRY) {
      EXPECT_EQ(read, status);
    }
    return status;
  }
};

TEST_F(EdgeFileStatus, OfDamage) {
  EXPECT_EQ(status_of([](Bytes&) {}, false), KVALIGN_EDGE_OK);
  EXPECT_EQ(status_of([](Bytes& b) { b.resize(100); }, false), KVALIGN_EDGE_FILE_TRUNCATED);
  EXPECT_EQ(status_of([](Bytes& b) { b.pop_back(); }, false), KVALIGN_EDGE_FILE_TRUNCATED);
  EXPECT_EQ(status_of([](Bytes& b) { b.push_back(0); }, false), KVALIGN_EDGE_FILE_WRONG_SIZE);
  EXPECT_EQ(status_of([](Bytes& b) { b[40] ^= 1; }, true), KVALIGN_EDGE_FILE_WRONG_SIZE);
  EXPECT_EQ(status_of([](Bytes& b) { b[0] = 'k'; }, false), KVALIGN_EDGE_FILE_WRONG_MAGIC);
  EXPECT_EQ(status_of([](Bytes& b) { b[8] = 2; }, false), KVALIGN_EDGE_FILE_WRONG_VERSION);
  EXPECT_EQ(status_of([](Bytes& b) { b[30] ^= 4; }, false), KVALIGN_EDGE_FILE_HEADER_DAMAGED);
  EXPECT_EQ(status_of([](Bytes& b) { b[700] ^= 4; }, false), KVALIGN_EDGE_FILE_DAMAGED);
  EXPECT_EQ(status_of([](Bytes& b) { b[28] = 0; }, true), KVALIGN_EDGE_FILE_INCONSISTENT);
  EXPECT_EQ(status_of([](Bytes& b) { store_little_endian(&b[128 + 64], 0x7F800000u); }, true),
            KVALIGN_EDGE_FILE_NOT_FINITE);
}

TEST_F(EdgeFileStatus, OfAnotherModel) {
  EXPECT_EQ(status_of([](Bytes& b) { b[48] ^= 1; }, true), KVALIGN_EDGE_FILE_OF_ANOTHER_GEOMETRY);
  EXPECT_EQ(status_of([](Bytes& b) { b[16] = 3; }, true), KVALIGN_EDGE_FILE_OF_ANOTHER_GEOMETRY);
}

TEST_F(EdgeFileStatus, OfPointersAndScales) {
  const AlignedMemory file = aligned_copy(read_bytes("tests/golden/encoder_v1.bin"));
  kvalign_edge_options options = options_for(kShape);
  options.encoder_file = file.get();
  EXPECT_EQ(bytes_status(options), KVALIGN_EDGE_NULL_ARGUMENT);
  options.encoder_file_bytes = file.size;
  options.scales = KVALIGN_EDGE_SCALES_HEAD;
  EXPECT_EQ(bytes_status(options), KVALIGN_EDGE_HEAD_SCALES_OF_LATENT);
  options.encoder_file = static_cast<const char*>(file.get()) + 4;
  options.encoder_file_bytes -= 4;
  EXPECT_EQ(bytes_status(options), KVALIGN_EDGE_FILE_NOT_ALIGNED);
  kvalign_edge_file_info info{};
  EXPECT_EQ(kvalign_edge_read_file_info(nullptr, 1, &info), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_read_file_info(file.get(), file.size, nullptr),
            KVALIGN_EDGE_NULL_ARGUMENT);
}

class EdgePacketStatus : public ::testing::Test {
 protected:
  static kvalign_edge_options options_with(uint32_t scales) {
    kvalign_edge_options options = options_for(kShape);
    options.scales = scales;
    options.inverse_frequencies = kFrequencies;
    options.num_inverse_frequencies = 2;
    return options;
  }
  EdgePacketStatus()
      : token_(options_with(KVALIGN_EDGE_SCALES_TOKEN)),
        tensor_(options_with(KVALIGN_EDGE_SCALES_TENSOR)),
        numbers_(kShape, 10),
        laid_out_(numbers_) {}

  kvalign_edge_status sizes_after(const std::function<void(kvalign_edge_packet&)>& change) {
    kvalign_edge_packet packet = packet_;
    change(packet);
    kvalign_edge_sizes sizes{};
    const kvalign_edge_status status = kvalign_edge_packet_sizes(token_, &packet, &sizes);
    EXPECT_EQ(begin(token_, packet), status);
    return status;
  }
  kvalign_edge_status begin(kvalign_edge_encoder* encoder, const kvalign_edge_packet& packet) {
    buffer_ = {bytes_.data(), bytes_.size(), 0};
    return kvalign_edge_begin(encoder, &packet, &buffer_);
  }
  kvalign_edge_status begin_with_scales(const std::vector<float>& scales) {
    kvalign_edge_packet packet = packet_;
    packet.static_scales = scales.data();
    packet.num_static_scales = scales.size();
    return begin(tensor_, packet);
  }
  kvalign_edge_status chunk(const kvalign_edge_cache& cache) {
    return kvalign_edge_chunk(token_, &cache, &buffer_);
  }

  static constexpr float kFrequencies[] = {1.0f, 0.5f};
  Encoder token_, tensor_;
  kvalign_edge_packet packet_ = packet_of(10, 4);
  TestCache numbers_;
  LaidOutCache laid_out_;
  Bytes bytes_ = Bytes(20000);
  kvalign_edge_buffer buffer_{bytes_.data(), bytes_.size(), 0};
};

TEST_F(EdgePacketStatus, OfNumbers) {
  using Packet = kvalign_edge_packet;
  EXPECT_EQ(sizes_after([](Packet&) {}), KVALIGN_EDGE_OK);
  EXPECT_EQ(sizes_after([](Packet& p) { p.struct_size = 8; }), KVALIGN_EDGE_WRONG_STRUCT_SIZE);
  EXPECT_EQ(sizes_after([](Packet& p) { p.num_tokens = 0; }), KVALIGN_EDGE_NO_TOKENS);
  EXPECT_EQ(sizes_after([](Packet& p) { p.num_sinks = 11; }), KVALIGN_EDGE_TOO_MANY_RECOMPUTED);
  EXPECT_EQ(sizes_after([](Packet& p) { p.chunk_tokens = 0; }), KVALIGN_EDGE_NO_CHUNK_TOKENS);
  EXPECT_EQ(sizes_after([](Packet& p) { p.position_offset = UINT64_MAX; }),
            KVALIGN_EDGE_POSITION_TOO_LARGE);
  EXPECT_EQ(sizes_after([](Packet& p) { p.position_offset = (1 << 24) - 9; }),
            KVALIGN_EDGE_POSITION_TOO_LARGE);
  EXPECT_EQ(sizes_after([](Packet& p) { p.position_offset = (1 << 24) - 10; }), KVALIGN_EDGE_OK);
  kvalign_edge_sizes sizes{};
  EXPECT_EQ(kvalign_edge_packet_sizes(nullptr, &packet_, &sizes), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_packet_sizes(token_, nullptr, &sizes), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_packet_sizes(token_, &packet_, nullptr), KVALIGN_EDGE_NULL_ARGUMENT);
}

TEST_F(EdgePacketStatus, OfAPacketThatCannotBeAddressed) {
  // One token fits 64 bits, 2^32 of them do not; with wider rows one does not either.
  const Encoder encoder(options_for({0x7FFFFFFF, 1, 1024}));
  ASSERT_EQ(encoder.status, KVALIGN_EDGE_OK);
  EXPECT_EQ(bytes_status(options_for({0x7FFFFFFF, 1, 0x7FFFFFFF})), KVALIGN_EDGE_SIZE_OVERFLOW);
  kvalign_edge_sizes sizes{};
  const kvalign_edge_packet packet = packet_of(UINT32_MAX, 1);
  EXPECT_EQ(kvalign_edge_packet_sizes(encoder, &packet, &sizes), KVALIGN_EDGE_SIZE_OVERFLOW);
}

TEST_F(EdgePacketStatus, OfBegin) {
  EXPECT_EQ(kvalign_edge_begin(nullptr, &packet_, &buffer_), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_begin(token_, nullptr, &buffer_), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_begin(token_, &packet_, nullptr), KVALIGN_EDGE_NULL_ARGUMENT);
  kvalign_edge_buffer nowhere{};
  EXPECT_EQ(kvalign_edge_begin(token_, &packet_, &nowhere), KVALIGN_EDGE_NULL_ARGUMENT);
  kvalign_edge_buffer small{bytes_.data(), 135, 0};
  EXPECT_EQ(kvalign_edge_begin(token_, &packet_, &small), KVALIGN_EDGE_BUFFER_TOO_SMALL);
  kvalign_edge_packet packet = packet_;
  packet.num_sinks = 1;
  EXPECT_EQ(begin(token_, packet), KVALIGN_EDGE_MISSING_TOKEN_IDS);
  packet = packet_;
  packet.num_reread = 1;
  EXPECT_EQ(begin(token_, packet), KVALIGN_EDGE_MISSING_TOKEN_IDS);
  packet = packet_;
  packet.static_scales = kFrequencies;
  EXPECT_EQ(begin(token_, packet), KVALIGN_EDGE_UNEXPECTED_SCALES);
  EXPECT_EQ(begin(tensor_, packet_), KVALIGN_EDGE_MISSING_SCALES);
  EXPECT_EQ(begin_with_scales({1, 1, 1}), KVALIGN_EDGE_WRONG_SCALE_COUNT);
  EXPECT_EQ(begin_with_scales({1, 1, 1, 0}), KVALIGN_EDGE_WRONG_SCALE);
  EXPECT_EQ(begin_with_scales({1, NAN, 1, 1}), KVALIGN_EDGE_WRONG_SCALE);
  EXPECT_EQ(begin_with_scales({1, 1, 1, 1e38f}), KVALIGN_EDGE_WRONG_SCALE);
  EXPECT_EQ(begin_with_scales({1, 1, 1, 1}), KVALIGN_EDGE_OK);
}

TEST_F(EdgePacketStatus, OfTheOrderOfCalls) {
  const kvalign_edge_cache cache = laid_out_.cache();
  EXPECT_EQ(chunk(cache), KVALIGN_EDGE_WRONG_CALL);
  EXPECT_EQ(kvalign_edge_finish(token_, &buffer_), KVALIGN_EDGE_WRONG_CALL);
  ASSERT_EQ(begin(token_, packet_), KVALIGN_EDGE_OK);
  EXPECT_EQ(kvalign_edge_finish(token_, &buffer_), KVALIGN_EDGE_WRONG_CALL);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(chunk(cache), KVALIGN_EDGE_OK);
  EXPECT_EQ(chunk(cache), KVALIGN_EDGE_WRONG_CALL);
  kvalign_edge_buffer small{bytes_.data(), 11, 0};
  EXPECT_EQ(kvalign_edge_finish(token_, &small), KVALIGN_EDGE_BUFFER_TOO_SMALL);
  EXPECT_EQ(kvalign_edge_finish(nullptr, &buffer_), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_finish(token_, nullptr), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_finish(token_, &buffer_), KVALIGN_EDGE_OK);
  EXPECT_EQ(kvalign_edge_finish(token_, &buffer_), KVALIGN_EDGE_WRONG_CALL);
  EXPECT_EQ(chunk(cache), KVALIGN_EDGE_WRONG_CALL);
}

TEST_F(EdgePacketStatus, OfChosenScales) {
  const kvalign_edge_cache cache = laid_out_.cache();
  float scales[4];
  const auto choose = [&](kvalign_edge_encoder* encoder, const kvalign_edge_packet& packet,
                          size_t count) {
    return kvalign_edge_choose_scales(encoder, &packet, &cache, scales, count);
  };
  EXPECT_EQ(choose(nullptr, packet_, 4), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_choose_scales(tensor_, &packet_, &cache, nullptr, 4),
            KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(choose(token_, packet_, 4), KVALIGN_EDGE_UNEXPECTED_SCALES);
  EXPECT_EQ(choose(tensor_, packet_, 3), KVALIGN_EDGE_WRONG_SCALE_COUNT);
  EXPECT_EQ(choose(tensor_, packet_of(0, 1), 4), KVALIGN_EDGE_NO_TOKENS);
  EXPECT_EQ(choose(tensor_, packet_of(11, 4), 4), KVALIGN_EDGE_TOKENS_MISSING);
  EXPECT_EQ(choose(tensor_, packet_, 4), KVALIGN_EDGE_OK);
  ASSERT_EQ(begin_with_scales({1, 1, 1, 1}), KVALIGN_EDGE_OK);
  EXPECT_EQ(choose(tensor_, packet_, 4), KVALIGN_EDGE_WRONG_CALL);
}

TEST_F(EdgePacketStatus, OfACache) {
  const kvalign_edge_cache cache = laid_out_.cache();
  ASSERT_EQ(begin(token_, packet_), KVALIGN_EDGE_OK);
  EXPECT_EQ(kvalign_edge_chunk(nullptr, &cache, &buffer_), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_chunk(token_, nullptr, &buffer_), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(kvalign_edge_chunk(token_, &cache, nullptr), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(chunk({nullptr, cache.values, 0, 10}), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(chunk({cache.keys, nullptr, 0, 10}), KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(chunk({cache.keys, cache.values, 0, 3}), KVALIGN_EDGE_TOKENS_MISSING);
  EXPECT_EQ(chunk({cache.keys, cache.values, 1, 9}), KVALIGN_EDGE_TOKENS_MISSING);
  const auto after_change = [&](const std::function<void(kvalign_edge_tensor&)>& change) {
    const kvalign_edge_tensor before = laid_out_.tensors[3];
    change(laid_out_.tensors[3]);
    const kvalign_edge_status status = chunk(laid_out_.cache());
    laid_out_.tensors[3] = before;
    return status;
  };
  EXPECT_EQ(after_change([](kvalign_edge_tensor& t) { t.data = nullptr; }),
            KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(after_change([](kvalign_edge_tensor& t) { t.block_tokens = 4; }),
            KVALIGN_EDGE_NULL_ARGUMENT);
  EXPECT_EQ(after_change([](kvalign_edge_tensor& t) { t.dtype = 0; }), KVALIGN_EDGE_UNKNOWN_DTYPE);
  EXPECT_EQ(after_change([](kvalign_edge_tensor& t) { t.dtype = 4; }), KVALIGN_EDGE_UNKNOWN_DTYPE);
  EXPECT_EQ(chunk(cache), KVALIGN_EDGE_OK);
}

TEST_F(EdgePacketStatus, OfNumbersThatAreNotFinite) {
  struct Place {
    uint32_t stream, token, head, channel;
    float number;
  };
  for (const Place& place : {Place{0, 1, 1, 17, INFINITY}, Place{1, 0, 0, 0, -INFINITY},
                             Place{2, 3, 1, 5, NAN}, Place{3, 2, 0, 17, NAN}}) {
    TestCache numbers(kShape, 10);
    numbers.at(place.stream, place.token, place.head, place.channel) = place.number;
    ASSERT_EQ(begin(token_, packet_), KVALIGN_EDGE_OK);
    EXPECT_EQ(chunk(LaidOutCache(numbers).cache()), KVALIGN_EDGE_NOT_FINITE);
    const kvalign_edge_fault fault = kvalign_edge_encoder_fault(token_);
    EXPECT_EQ(fault.layer, place.stream % 2);
    EXPECT_EQ(fault.is_values, place.stream / 2);
    EXPECT_EQ(fault.token, place.token);
    EXPECT_EQ(fault.head, place.head);
    EXPECT_EQ(fault.channel, place.channel);
  }
}

TEST_F(EdgePacketStatus, OfKeysThatOverflowWhenTurnedBack) {
  TestCache numbers(kShape, 10);
  numbers.at(0, 1, 0, 0) = numbers.at(0, 1, 0, 2) = 0x1.fffffep127f;
  ASSERT_EQ(begin(token_, packet_), KVALIGN_EDGE_OK);
  EXPECT_EQ(chunk(LaidOutCache(numbers).cache()), KVALIGN_EDGE_NOT_FINITE);
  const kvalign_edge_fault fault = kvalign_edge_encoder_fault(token_);
  EXPECT_EQ(fault.layer, 0u);
  EXPECT_EQ(fault.token, 1u);
  EXPECT_EQ(fault.channel, 0u);
}

}  // namespace
}  // namespace kvalign::testing
