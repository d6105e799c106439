// One case for each element and each kind of scales.
#include "write_rows.h"

#include "kvalign/format/fp8_layout.h"
#include "kvalign/format/fp8_scale.h"
#include "kvalign/format/half.h"

namespace kvalign {
namespace {

// Groups of neighbours in a row, each with its own scale.
template <class ScaleOf>
void write_groups(const Row& row, uint32_t width, uint32_t group, ScaleOf scale_of,
                  Fp8Format format, uint8_t* codes, RowCounts& counts) noexcept {
  for (uint32_t begin = 0, index = 0; begin < width; begin += group, ++index) {
    const uint32_t count = width - begin < group ? width - begin : group;
    const float scale = scale_of(index, row.values + begin, count);
    encode_fp8_row(row.values + begin, count, scale, format, codes + begin, counts);
  }
}

void write_fp8(const kvalign_edge_encoder& encoder, const Row& row, uint8_t* scales, uint8_t* codes,
               RowCounts& counts) noexcept {
  const uint32_t width = encoder.wire_width();
  const Fp8Format format = fp8_format(encoder.header.element);
  const float* known = encoder.static_scales;
  switch (encoder.header.scales) {
    case PacketScales::kNone:
      return encode_fp8_row(row.values, width, 1.0f, format, codes, counts);
    case PacketScales::kTensor:
      return encode_fp8_row(row.values, width, known[row.stream], format, codes, counts);
    case PacketScales::kHead:
      known += uint64_t{row.stream} * encoder.num_kv_heads;
      return write_groups(
          row, width, encoder.head_dim,
          [known](uint32_t head, const float*, uint32_t) { return known[head]; }, format, codes,
          counts);
    case PacketScales::kChannel:
      return encode_fp8_row(row.values, width, known + uint64_t{row.stream} * width, format, codes,
                            counts);
    case PacketScales::kToken: {
      const float scale = fp8_scale_of(float_of_bits(row.amax_bits), format);
      store_little_endian(scales, bits_of_float(scale));
      return encode_fp8_row(row.values, width, scale, format, codes, counts);
    }
    case PacketScales::kBlock32:
      return write_groups(
          row, width, kFp8BlockSize,
          [scales, format](uint32_t block, const float* values, uint32_t count) {
            const float amax = float_of_bits(amax_bits(values, count));
            const float scale = fp8_block_scale_of(amax, format);
            scales[block] = encode_e8m0(scale);
            return scale;
          },
          format, codes, counts);
  }
}

template <uint32_t largest>
void write_halves(const Row& row, uint32_t width, uint32_t (*round)(uint32_t), uint8_t* codes,
                  RowCounts& counts) noexcept {
  for (uint32_t i = 0; i < width; ++i) {
    const uint32_t bits = bits_of_float(row.values[i]);
    const uint32_t rounded = round(bits & 0x7FFFFFFF);
    const uint32_t code = rounded > largest ? largest : rounded;
    store_little_endian(codes + uint64_t{2} * i, static_cast<uint16_t>(code | bits >> 31 << 15));
    counts.saturated += rounded > largest ? 1 : 0;
    counts.flushed += code == 0 && (bits & 0x7FFFFFFF) != 0 ? 1 : 0;
  }
}

}  // namespace

void write_row(const kvalign_edge_encoder& encoder, const Row& row, const PacketChunkSpace& space,
               RowCounts& counts) noexcept {
  const uint32_t width = encoder.wire_width();
  const uint64_t place =
      uint64_t{row.token - space.first_token} * encoder.wire_streams() + row.stream;
  switch (encoder.header.element) {
    case PacketElement::kF16:
      return write_halves<kLargestF16>(row, width, round_to_f16, space.codes + 2 * place * width,
                                       counts);
    case PacketElement::kBF16:
      return write_halves<kLargestBf16>(row, width, round_to_bf16, space.codes + 2 * place * width,
                                        counts);
    case PacketElement::kF32:
      for (uint32_t i = 0; i < width; ++i) {
        store_little_endian(space.codes + 4 * (place * width + i), bits_of_float(row.values[i]));
      }
      return;
    default: {
      const uint64_t rows = uint64_t{space.num_tokens} * encoder.wire_streams();
      const uint64_t row_scale_bytes = space.scale_bytes / rows;
      return write_fp8(encoder, row, space.scales + place * row_scale_bytes,
                       space.codes + place * width, counts);
    }
  }
}

}  // namespace kvalign
