// Gathers rows, turns keys back, makes latents; refuses what is not finite.
#include "read_rows.h"

#include "gather.h"
#include "latent.h"

namespace kvalign {
namespace {

constexpr uint32_t kInfinity = 0x7F800000;  // bits; NaN is above

bool is_keys(const kvalign_edge_encoder& encoder, uint32_t stream) noexcept {
  return stream < encoder.num_layers;
}

const kvalign_edge_tensor& tensor_of(const kvalign_edge_encoder& encoder,
                                     const kvalign_edge_cache& cache, uint32_t stream) noexcept {
  return is_keys(encoder, stream) ? cache.keys[stream] : cache.values[stream - encoder.num_layers];
}

kvalign_edge_status check_tensor(const kvalign_edge_tensor& tensor) noexcept {
  const bool paged = tensor.block_tokens != 0;
  if ((paged ? static_cast<const void*>(tensor.blocks) : tensor.data) == nullptr) {
    return KVALIGN_EDGE_NULL_ARGUMENT;
  }
  const bool known =
      tensor.dtype >= KVALIGN_EDGE_DTYPE_F32 && tensor.dtype <= KVALIGN_EDGE_DTYPE_BF16;
  return known ? KVALIGN_EDGE_OK : KVALIGN_EDGE_UNKNOWN_DTYPE;
}

uint32_t first_not_finite(const float* values) noexcept {
  uint32_t i = 0;
  while ((bits_of_float(values[i]) & 0x7FFFFFFF) < kInfinity) ++i;
  return i;
}

// One stream of the sender for one token into `values` [W].
kvalign_edge_status read_row(kvalign_edge_encoder& encoder, const kvalign_edge_cache& cache,
                             uint32_t stream, uint32_t token, const CosSin* table,
                             float* values) noexcept {
  const bool turns = encoder.turn.num_pairs != 0 && is_keys(encoder, stream);
  const uint32_t width = encoder.width();
  gather_row(tensor_of(encoder, cache, stream), token - cache.first_token, encoder.num_kv_heads,
             encoder.head_dim, values);
  bool finite = amax_bits(values, width) < kInfinity;
  if (finite && turns) {
    turn_back(encoder.turn, table, encoder.num_kv_heads, encoder.head_dim, values);
    finite = amax_bits(values, width) < kInfinity;
  }
  if (finite) return KVALIGN_EDGE_OK;
  const uint32_t index = first_not_finite(values);
  encoder.fault = {stream % encoder.num_layers, is_keys(encoder, stream) ? 0u : 1u, token,
                   index / encoder.head_dim, index % encoder.head_dim};
  return KVALIGN_EDGE_NOT_FINITE;
}

struct Tile {
  const kvalign_edge_cache& cache;
  uint32_t first;
  uint32_t count;
};

kvalign_edge_status read_cache(kvalign_edge_encoder& encoder, const Tile& tile, VisitRow visit,
                               void* context) noexcept {
  for (uint32_t stream = 0; stream < encoder.wire_streams(); ++stream) {
    for (uint32_t i = 0; i < tile.count; ++i) {
      const CosSin* table = encoder.turn_table + uint64_t{i} * encoder.turn.num_pairs;
      const kvalign_edge_status status =
          read_row(encoder, tile.cache, stream, tile.first + i, table, encoder.row);
      if (status != KVALIGN_EDGE_OK) return status;
      visit(context,
            {tile.first + i, stream, encoder.row, amax_bits(encoder.row, encoder.width())});
    }
  }
  return KVALIGN_EDGE_OK;
}

kvalign_edge_status read_latents(kvalign_edge_encoder& encoder, const Tile& tile, VisitRow visit,
                                 void* context) noexcept {
  const EncoderFile& file = encoder.file;
  for (uint32_t place = 0; place < file.header.num_streams; ++place) {
    for (uint32_t i = 0; i < tile.count; ++i) {
      const CosSin* table = encoder.turn_table + uint64_t{i} * encoder.turn.num_pairs;
      float* values = encoder.row + i * file.layout.row_floats + uint64_t{place} * encoder.width();
      const kvalign_edge_status status =
          read_row(encoder, tile.cache, file.streams[place], tile.first + i, table, values);
      if (status != KVALIGN_EDGE_OK) return status;
    }
  }
  make_latents(file, encoder.row, tile.count, encoder.latents);
  for (uint32_t i = 0; i < tile.count; ++i) {
    const float* latent = encoder.latents + uint64_t{i} * file.header.rank;
    const uint32_t amax = amax_bits(latent, file.header.rank);
    if (amax >= kInfinity) {
      encoder.fault = {0, 0, tile.first + i, 0, first_not_finite(latent)};
      return KVALIGN_EDGE_LATENT_NOT_FINITE;
    }
    visit(context, {tile.first + i, 0, latent, amax});
  }
  return KVALIGN_EDGE_OK;
}

}  // namespace

kvalign_edge_status check_cache(const kvalign_edge_encoder& encoder,
                                const kvalign_edge_cache& cache, uint32_t first,
                                uint32_t count) noexcept {
  if (cache.keys == nullptr || (cache.values == nullptr) != encoder.is_flat) {
    return KVALIGN_EDGE_NULL_ARGUMENT;
  }
  const uint32_t streams = encoder.is_flat ? 1 : 2 * encoder.num_layers;
  for (uint32_t stream = 0; stream < streams; ++stream) {
    const kvalign_edge_status status = check_tensor(tensor_of(encoder, cache, stream));
    if (status != KVALIGN_EDGE_OK) return status;
  }
  const bool holds = first >= cache.first_token &&
                     uint64_t{first} + count <= uint64_t{cache.first_token} + cache.num_tokens;
  return holds ? KVALIGN_EDGE_OK : KVALIGN_EDGE_TOKENS_MISSING;
}

kvalign_edge_status read_tile(kvalign_edge_encoder& encoder, const PacketHeader& header,
                              const kvalign_edge_cache& cache, uint32_t first, uint32_t count,
                              VisitRow visit, void* context) noexcept {
  make_turn_table(encoder.turn, header.position_offset + first, count, encoder.turn_table);
  const Tile tile{cache, first, count};
  return encoder.is_latent() ? read_latents(encoder, tile, visit, context)
                             : read_cache(encoder, tile, visit, context);
}

}  // namespace kvalign
