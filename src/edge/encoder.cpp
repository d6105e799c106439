// Makes an encoder: checks its options and divides its memory.
#include "encoder.h"

#include <cstring>
#include <new>

#include "status.h"

namespace kvalign {
namespace {

// Takes pieces off a range of memory, each at a multiple of KVALIGN_EDGE_ALIGNMENT; without a range
// it only counts.
class Pieces {
 public:
  explicit Pieces(void* memory) : memory_(static_cast<uint8_t*>(memory)) {}

  template <class Type>
  Type* take(uint64_t count) noexcept {
    void* piece = memory_ == nullptr ? nullptr : memory_ + used_;
    const uint64_t bytes = count * sizeof(Type);
    used_ += (bytes + KVALIGN_EDGE_ALIGNMENT - 1) / KVALIGN_EDGE_ALIGNMENT * KVALIGN_EDGE_ALIGNMENT;
    return static_cast<Type*>(piece);
  }
  uint64_t used() const noexcept { return used_; }

 private:
  uint8_t* memory_;
  uint64_t used_ = 0;
};

kvalign_edge_status check_shape(const kvalign_edge_options& options) noexcept {
  constexpr uint64_t kMostElements = uint64_t{1} << 31;
  if (options.is_flat > 1 || options.all_token_ids > 1) return KVALIGN_EDGE_UNKNOWN_FLAG;
  const uint64_t width = uint64_t{options.num_kv_heads} * options.head_dim;
  const bool layers_are_right =
      options.is_flat ? options.num_layers == 1 : options.num_layers - 1 < kMostElements - 1;
  if (!layers_are_right || width == 0 || width >= kMostElements) return KVALIGN_EDGE_WRONG_SHAPE;
  return KVALIGN_EDGE_OK;
}

kvalign_edge_status check_turn(const kvalign_edge_options& options) noexcept {
  const uint32_t pairs = options.num_inverse_frequencies;
  if ((pairs != 0) != (options.inverse_frequencies != nullptr)) return KVALIGN_EDGE_NULL_ARGUMENT;
  if (options.pairing > KVALIGN_EDGE_PAIRING_INTERLEAVED) return KVALIGN_EDGE_UNKNOWN_PAIRING;
  if (pairs > options.head_dim / 2 || (pairs != 0 && options.is_flat != 0)) {
    return KVALIGN_EDGE_WRONG_ROTARY_DIM;
  }
  for (uint32_t i = 0; i < pairs; ++i) {
    const float frequency = options.inverse_frequencies[i];
    if (!(frequency >= 0 && frequency <= 1)) return KVALIGN_EDGE_WRONG_INVERSE_FREQUENCY;
  }
  return KVALIGN_EDGE_OK;
}

kvalign_edge_status read_file(const kvalign_edge_options& options, EncoderFile& file) noexcept {
  if ((options.encoder_file_bytes != 0) != (options.encoder_file != nullptr)) {
    return KVALIGN_EDGE_NULL_ARGUMENT;
  }
  if (options.encoder_file == nullptr) return KVALIGN_EDGE_OK;
  const kvalign_edge_status status = edge_status(read_encoder_file(
      {static_cast<const uint8_t*>(options.encoder_file), options.encoder_file_bytes}, file));
  if (status != KVALIGN_EDGE_OK) return status;
  const EncoderFileHeader& header = file.header;
  const bool same =
      header.is_flat == (options.is_flat != 0) && header.num_layers == options.num_layers &&
      header.num_kv_heads == options.num_kv_heads && header.head_dim == options.head_dim &&
      std::memcmp(header.geometry_id.data(), options.geometry_id, sizeof options.geometry_id) == 0;
  return same ? KVALIGN_EDGE_OK : KVALIGN_EDGE_FILE_OF_ANOTHER_GEOMETRY;
}

PacketHeader header_of(const kvalign_edge_options& options, const EncoderFile& file) noexcept {
  PacketHeader header;
  // A number above 255 must not become a known one.
  const auto byte = [](uint32_t number) {
    return static_cast<uint8_t>(number < 255 ? number : 255);
  };
  header.element = static_cast<PacketElement>(byte(options.element));
  header.scales = static_cast<PacketScales>(byte(options.scales));
  header.token_ids =
      options.all_token_ids != 0 ? PacketTokenIds::kAll : PacketTokenIds::kRecomputed;
  std::memcpy(header.geometry_id.data(), options.geometry_id, sizeof options.geometry_id);
  if (file.weights != nullptr) {
    header.content = PacketContent::kLatent;
    header.rank = file.header.rank;
    header.encoder_id = file.header.encoder_id;
    return header;
  }
  header.content = options.is_flat != 0 ? PacketContent::kFlatCache : PacketContent::kCache;
  header.num_layers = options.num_layers;
  header.num_kv_heads = options.num_kv_heads;
  header.head_dim = options.head_dim;
  return header;
}

// All that options can be wrong about; `file` stays empty where there is none.
kvalign_edge_status check_options(const kvalign_edge_options& options, EncoderFile& file) noexcept {
  if (options.struct_size != sizeof options) return KVALIGN_EDGE_WRONG_STRUCT_SIZE;
  kvalign_edge_status status = check_shape(options);
  if (status == KVALIGN_EDGE_OK) status = check_turn(options);
  if (status == KVALIGN_EDGE_OK) status = read_file(options, file);
  if (status != KVALIGN_EDGE_OK) return status;
  PacketHeader header = header_of(options, file);
  header.num_tokens = 1;
  header.chunk_tokens = 1;
  PacketLayout layout;
  return edge_status(lay_out_packet(header, layout));
}

// The encoder's parts behind it in memory; returns the bytes that all take.
uint64_t divide(const kvalign_edge_options& options, const EncoderFile& file,
                void* memory) noexcept {
  Pieces pieces(memory);
  auto* encoder = pieces.take<kvalign_edge_encoder>(1);
  const uint32_t pairs = options.num_inverse_frequencies;
  const bool is_latent = file.weights != nullptr;
  auto* frequencies = pieces.take<float>(pairs);
  auto* table = pieces.take<CosSin>(uint64_t{kTileTokens} * pairs);
  auto* row = pieces.take<float>(is_latent ? kTileTokens * file.layout.row_floats
                                           : uint64_t{options.num_kv_heads} * options.head_dim);
  auto* latents = pieces.take<float>(is_latent ? uint64_t{kTileTokens} * file.header.rank : 0);
  if (memory == nullptr) return pieces.used();

  new (encoder) kvalign_edge_encoder;
  encoder->header = header_of(options, file);
  encoder->num_layers = options.num_layers;
  encoder->num_kv_heads = options.num_kv_heads;
  encoder->head_dim = options.head_dim;
  encoder->is_flat = options.is_flat != 0;
  if (pairs != 0) std::memcpy(frequencies, options.inverse_frequencies, pairs * sizeof(float));
  encoder->turn = {frequencies, pairs, options.pairing == KVALIGN_EDGE_PAIRING_INTERLEAVED};
  encoder->file = file;
  encoder->turn_table = table;
  encoder->row = row;
  encoder->latents = latents;
  // The features between F and P stay zero.
  if (is_latent) std::memset(row, 0, kTileTokens * file.layout.row_floats * sizeof(float));
  return pieces.used();
}

}  // namespace
}  // namespace kvalign

using namespace kvalign;

uint32_t kvalign_edge_abi_version(void) {
  return KVALIGN_EDGE_ABI_VERSION;
}

kvalign_edge_status kvalign_edge_encoder_bytes(const kvalign_edge_options* options, size_t* bytes) {
  if (options == nullptr || bytes == nullptr) return KVALIGN_EDGE_NULL_ARGUMENT;
  EncoderFile file;
  const kvalign_edge_status status = check_options(*options, file);
  if (status == KVALIGN_EDGE_OK) *bytes = divide(*options, file, nullptr);
  return status;
}

kvalign_edge_status kvalign_edge_encoder_create(const kvalign_edge_options* options, void* memory,
                                                size_t bytes, kvalign_edge_encoder** encoder) {
  if (options == nullptr || memory == nullptr || encoder == nullptr) {
    return KVALIGN_EDGE_NULL_ARGUMENT;
  }
  EncoderFile file;
  const kvalign_edge_status status = check_options(*options, file);
  if (status != KVALIGN_EDGE_OK) return status;
  if (reinterpret_cast<uintptr_t>(memory) % KVALIGN_EDGE_ALIGNMENT != 0) {
    return KVALIGN_EDGE_MEMORY_NOT_ALIGNED;
  }
  if (divide(*options, file, nullptr) > bytes) return KVALIGN_EDGE_MEMORY_TOO_SMALL;
  divide(*options, file, memory);
  *encoder = static_cast<kvalign_edge_encoder*>(memory);
  return KVALIGN_EDGE_OK;
}

kvalign_edge_status kvalign_edge_read_file_info(const void* file, size_t bytes,
                                                kvalign_edge_file_info* info) {
  if (file == nullptr || info == nullptr) return KVALIGN_EDGE_NULL_ARGUMENT;
  EncoderFile read;
  const kvalign_edge_status status =
      edge_status(read_encoder_file({static_cast<const uint8_t*>(file), bytes}, read));
  if (status != KVALIGN_EDGE_OK) return status;
  const EncoderFileHeader& header = read.header;
  info->num_layers = header.num_layers;
  info->num_kv_heads = header.num_kv_heads;
  info->head_dim = header.head_dim;
  info->is_flat = header.is_flat ? 1 : 0;
  info->rank = header.rank;
  info->wire_element = static_cast<uint32_t>(header.wire_element);
  info->wire_scale = header.wire_scale;
  std::memcpy(info->geometry_id, header.geometry_id.data(), sizeof info->geometry_id);
  std::memcpy(info->encoder_id, header.encoder_id.data(), sizeof info->encoder_id);
  return KVALIGN_EDGE_OK;
}
