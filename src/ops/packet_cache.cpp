// Records to tensors: bytes of all chunks one after the other, then one conversion. See the header.
#include "kvalign/ops/packet_cache.h"

#include <ATen/ATen.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvalign/core/geometry_json.h"
#include "kvalign/core/sha256.h"
#include "kvalign/format/fp8_scale.h"
#include "kvalign/format/packet_reader.h"

namespace kvalign {
namespace {

constexpr int64_t kBlock = 32;  // elements; OCP MX

at::ScalarType dtype_of(PacketElement element) {
  switch (element) {
    case PacketElement::kE4M3FN:
      return at::kFloat8_e4m3fn;
    case PacketElement::kE5M2:
      return at::kFloat8_e5m2;
    case PacketElement::kF16:
      return at::kHalf;
    case PacketElement::kBF16:
      return at::kBFloat16;
    case PacketElement::kF32:
      return at::kFloat;
  }
  return at::kFloat;
}

// The parts of all chunks, one after the other.
struct Parts {
  std::vector<uint8_t> token_ids, scales, codes;
};

void append(std::vector<uint8_t>& bytes, ByteView view) {
  bytes.insert(bytes.end(), view.data, view.data + view.size);
}

std::vector<int32_t> ids_of(ByteView view) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < view.size / 4; ++i) ids.push_back(packet_token_id(view, i));
  return ids;
}

// A copy, since bytes in a packet have no alignment. Hosts are little-endian, as packets are.
at::Tensor tensor_of(const std::vector<uint8_t>& bytes, at::ScalarType dtype,
                     at::IntArrayRef sizes) {
  at::Tensor tensor = at::empty(sizes, dtype);
  TORCH_INTERNAL_ASSERT(tensor.nbytes() == bytes.size());
  std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

class PacketDecoder {
 public:
  PacketDecoder(ByteView packet, const std::string& where) : input_(packet), where_(where) {}

  PacketCache decode() {
    read_records();
    const PacketHeader& header = cache_.header;
    const bool latent = header.content == PacketContent::kLatent;
    const bool layered = header.content == PacketContent::kCache;
    const int64_t streams = layered ? 2 * int64_t{header.num_layers} : 1;
    const int64_t heads = latent ? 1 : header.num_kv_heads;
    const int64_t width = latent ? header.rank : heads * header.head_dim;
    const int64_t tokens = header.num_tokens - header.num_sinks - header.num_reread;
    const at::Tensor codes_TSD =
        tensor_of(parts_.codes, dtype_of(header.element), {tokens, streams, width});
    at::Tensor values_TSD = codes_TSD.to(at::kFloat);
    check(values_TSD.isfinite().all().item<bool>(), "expected finite codes, got NaN or Inf");
    if (header.scales == PacketScales::kBlock32) {
      const at::Tensor scales_TSD = block_scales(tokens, streams, width);
      values_TSD = values_TSD * scales_TSD;
    } else if (header.scales != PacketScales::kNone) {
      const at::Tensor scales = shared_scales(tokens, streams, heads, width);
      values_TSD = (values_TSD.unflatten(2, {heads, -1}) * scales).flatten(2);
    }
    cache_.streams_STD = values_TSD.transpose(0, 1).contiguous();
    return std::move(cache_);
  }

 private:
  void check(bool right, const std::string& what) const {
    if (!right) throw std::runtime_error(where_ + ": " + what);
  }
  void check(PacketStatus status) const {
    if (status != PacketStatus::kOk) {
      throw std::runtime_error(where_ + ": " + packet_status_text(status));
    }
  }

  void read_records() {
    PacketReader reader;
    check(reader.open(input_));
    cache_.header = reader.header();
    PacketPreamble preamble;
    check(reader.preamble(input_, preamble));
    cache_.sink_token_ids = ids_of(preamble.sink_token_ids);
    append(parts_.scales, preamble.static_scales);
    while (reader.chunks_left() > 0) {
      PacketChunk chunk;
      check(reader.next_chunk(input_, chunk));
      append(parts_.token_ids, chunk.token_ids);
      append(parts_.scales, chunk.scales);
      append(parts_.codes, chunk.codes);
    }
    ByteView reread;
    check(reader.finish(input_, reread));
    cache_.reread_token_ids = ids_of(reread);
    cache_.coded_token_ids = ids_of({parts_.token_ids.data(), parts_.token_ids.size()});
  }

  // [T, S, D]
  at::Tensor block_scales(int64_t tokens, int64_t streams, int64_t width) const {
    const int64_t blocks = (width + kBlock - 1) / kBlock;
    at::Tensor scales_TSb = at::empty({tokens, streams, blocks}, at::kFloat);
    float* scales = scales_TSb.mutable_data_ptr<float>();
    for (size_t i = 0; i < parts_.scales.size(); ++i) scales[i] = decode_e8m0(parts_.scales[i]);
    check_scales(scales_TSb);
    return scales_TSb.repeat_interleave(kBlock, 2).narrow(2, 0, width);
  }

  // Broadcasts to [T, S, N, H].
  at::Tensor shared_scales(int64_t tokens, int64_t streams, int64_t heads, int64_t width) const {
    const auto sizes = [&]() -> std::vector<int64_t> {
      switch (cache_.header.scales) {
        case PacketScales::kTensor:
          return {1, streams, 1, 1};
        case PacketScales::kHead:
          return {1, streams, heads, 1};
        case PacketScales::kToken:
          return {tokens, streams, 1, 1};
        default:
          return {1, streams, heads, width / heads};
      }
    }();
    const at::Tensor scales = tensor_of(parts_.scales, at::kFloat, sizes);
    check_scales(scales);
    return scales;
  }

  void check_scales(const at::Tensor& scales) const {
    const Fp8Format format =
        cache_.header.element == PacketElement::kE4M3FN ? Fp8Format::kE4M3FN : Fp8Format::kE5M2;
    const auto count = static_cast<size_t>(scales.numel());
    const float* values = scales.const_data_ptr<float>();
    for (size_t i = 0; i < count; ++i) {
      check(is_fp8_scale(values[i], format), "scale " + std::to_string(i) +
                                                 ": expected a number from 2^-100 on whose largest "
                                                 "product is finite, got " +
                                                 std::to_string(values[i]));
    }
  }

  ByteView input_;
  const std::string& where_;
  PacketCache cache_;
  Parts parts_;
};

}  // namespace

PacketCache read_packet_cache(ByteView packet, const std::string& where) {
  return PacketDecoder(packet, where).decode();
}

PacketId packet_geometry_id(const KvGeometry& geometry) {
  const std::string hex = sha256_hex(to_json(geometry).dump());
  PacketId id{};
  for (size_t i = 0; i < id.size(); ++i) {
    id[i] = static_cast<uint8_t>(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
  }
  return id;
}

}  // namespace kvalign
