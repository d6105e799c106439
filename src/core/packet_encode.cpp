// A sequence's cache through libkvalign_edge.
#include <ATen/ATen.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvalign/core/files.h"
#include "kvalign/core/geometry_json.h"
#include "kvalign/core/packet_tensors.h"
#include "kvalign/core/sha256.h"
#include "kvalign/edge/kvalign_edge.h"

namespace kvalign {
namespace {

[[noreturn]] void fail(const std::string& text) {
  throw std::invalid_argument("encode_packet: " + text);
}

void check(kvalign_edge_status status) {
  if (status != KVALIGN_EDGE_OK) fail(kvalign_edge_status_text(status));
}

using AlignedMemory = std::unique_ptr<void, decltype(&std::free)>;

AlignedMemory aligned_memory(size_t bytes) {
  const size_t rounded = (bytes + KVALIGN_EDGE_ALIGNMENT - 1) / KVALIGN_EDGE_ALIGNMENT;
  AlignedMemory memory(std::aligned_alloc(KVALIGN_EDGE_ALIGNMENT,
                                          std::max<size_t>(rounded, 1) * KVALIGN_EDGE_ALIGNMENT),
                       std::free);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

uint32_t number_of(const std::string& option, const std::string& name,
                   std::initializer_list<const char*> names, uint32_t first) {
  std::string known;
  for (const char* one : names) {
    if (name == one) return first;
    known += std::string(known.empty() ? "" : ", ") + one;
    ++first;
  }
  fail("expected " + option + " to be one of " + known + ", got '" + name + "'");
}

uint32_t count_of(const std::string& option, int64_t count) {
  if (count < 0 || count > UINT32_MAX) {
    fail("expected " + option + " of 0 to 2^32 - 1, got " + std::to_string(count));
  }
  return static_cast<uint32_t>(count);
}

kvalign_edge_dtype dtype_of(const at::Tensor& streams_STd) {
  switch (streams_STd.scalar_type()) {
    case at::kFloat:
      return KVALIGN_EDGE_DTYPE_F32;
    case at::kHalf:
      return KVALIGN_EDGE_DTYPE_F16;
    case at::kBFloat16:
      return KVALIGN_EDGE_DTYPE_BF16;
    default:
      fail(c10::str("expected float32, float16 or bfloat16 streams, got ",
                    streams_STd.scalar_type()));
  }
}

// One view a stream: keys of layer 0 .. L-1, then values.
std::vector<kvalign_edge_tensor> views_of(const KvGeometry& geometry,
                                          const at::Tensor& streams_STd) {
  const int64_t width = geometry.width();
  const bool right = streams_STd.dim() == 3 && streams_STd.device().is_cpu() &&
                     streams_STd.size(2) == width &&
                     (streams_STd.size(0) == 2 * geometry.num_layers ||
                      (streams_STd.size(0) == 1 && geometry.num_layers == 1));
  if (!right) {
    fail(c10::str("expected CPU streams [", 2 * geometry.num_layers, " or 1, tokens, ", width,
                  "], got ", streams_STd.sizes(), " on ", streams_STd.device()));
  }
  std::vector<kvalign_edge_tensor> views;
  for (int64_t stream = 0; stream < streams_STd.size(0); ++stream) {
    views.push_back({streams_STd.select(0, stream).const_data_ptr(), nullptr, 0,
                     dtype_of(streams_STd), streams_STd.stride(1),
                     geometry.head_dim * streams_STd.stride(2), streams_STd.stride(2)});
  }
  return views;
}

// The encoder's options, with the encoder file that they point to.
struct Setup {
  kvalign_edge_options options{};
  AlignedMemory file{nullptr, std::free};
  kvalign_edge_file_info info{};
  bool is_wire = false;  // element and static scale are the encoder file's
};

void read_encoder(const std::string& path, Setup& setup) {
  const std::string bytes = read_file(path);
  setup.file = aligned_memory(bytes.size());
  std::memcpy(setup.file.get(), bytes.data(), bytes.size());
  check(kvalign_edge_read_file_info(setup.file.get(), bytes.size(), &setup.info));
  setup.options.encoder_file = setup.file.get();
  setup.options.encoder_file_bytes = bytes.size();
}

Setup set_up(const KvGeometry& geometry, bool is_flat, const PacketOptions& options) {
  Setup setup;
  kvalign_edge_options& edge = setup.options;
  edge.struct_size = sizeof edge;
  edge.num_layers = count_of("num_layers", geometry.num_layers);
  edge.num_kv_heads = count_of("num_kv_heads", geometry.num_kv_heads);
  edge.head_dim = count_of("head_dim", geometry.head_dim);
  edge.is_flat = is_flat ? 1 : 0;
  edge.all_token_ids = options.all_token_ids ? 1 : 0;
  const PacketId id = packet_id(geometry_id(geometry));
  std::copy(id.begin(), id.end(), edge.geometry_id);
  if (!options.encoder.empty()) read_encoder(options.encoder, setup);
  setup.is_wire = !options.encoder.empty() && options.element.empty() && options.scales.empty();
  if (setup.is_wire) {
    edge.element = setup.info.wire_element;
    edge.scales =
        edge.element <= KVALIGN_EDGE_E5M2 ? KVALIGN_EDGE_SCALES_TENSOR : KVALIGN_EDGE_SCALES_NONE;
    return setup;
  }
  edge.element = number_of("element", options.element.empty() ? "e4m3fn" : options.element,
                           {"e4m3fn", "e5m2", "f16", "bf16", "f32"}, KVALIGN_EDGE_E4M3FN);
  const char* by_default = edge.element <= KVALIGN_EDGE_E5M2 ? "token" : "none";
  edge.scales = number_of("scales", options.scales.empty() ? by_default : options.scales,
                          {"none", "tensor", "head", "token", "channel", "block32"}, 0);
  return setup;
}

kvalign_edge_packet packet_of(const at::Tensor& streams_STd, const at::Tensor& token_ids,
                              const PacketOptions& options) {
  kvalign_edge_packet packet{};
  packet.struct_size = sizeof packet;
  packet.num_tokens = count_of("tokens", streams_STd.size(1));
  packet.chunk_tokens = count_of("chunk_tokens", options.chunk_tokens);
  packet.num_sinks = count_of("num_sinks", options.num_sinks);
  packet.num_reread = count_of("num_reread", options.num_reread);
  if (options.position_offset < 0) fail("expected a position_offset of 0 or more");
  packet.position_offset = static_cast<uint64_t>(options.position_offset);
  if (token_ids.defined()) {
    if (token_ids.scalar_type() != at::kInt || !token_ids.is_contiguous() ||
        token_ids.numel() != streams_STd.size(1)) {
      fail(c10::str("expected int32 token ids [", streams_STd.size(1), "], got ",
                    token_ids.scalar_type(), " ", token_ids.sizes()));
    }
    packet.token_ids = token_ids.const_data_ptr<int32_t>();
  }
  return packet;
}

void write_packet(kvalign_edge_encoder* encoder, const kvalign_edge_packet& packet,
                  const kvalign_edge_cache& cache, EncodedPacket& encoded) {
  kvalign_edge_buffer buffer{reinterpret_cast<uint8_t*>(encoded.bytes.data()), encoded.bytes.size(),
                             0};
  check(kvalign_edge_begin(encoder, &packet, &buffer));
  while (kvalign_edge_chunks_left(encoder) > 0) {
    const kvalign_edge_status status = kvalign_edge_chunk(encoder, &cache, &buffer);
    if (status == KVALIGN_EDGE_NOT_FINITE || status == KVALIGN_EDGE_LATENT_NOT_FINITE) {
      const kvalign_edge_fault fault = kvalign_edge_encoder_fault(encoder);
      fail(c10::str("layer ", fault.layer, fault.is_values ? " values" : " keys", ", token ",
                    fault.token, ", head ", fault.head, ", channel ", fault.channel, ": ",
                    kvalign_edge_status_text(status)));
    }
    check(status);
  }
  check(kvalign_edge_finish(encoder, &buffer));
  const kvalign_edge_counts counts = kvalign_edge_encoder_counts(encoder);
  encoded.saturated = counts.saturated;
  encoded.flushed = counts.flushed;
}

}  // namespace

EncodedPacket encode_packet(const KvGeometry& geometry, const at::Tensor& streams_STd,
                            const at::Tensor& token_ids, const PacketOptions& options) {
  const std::vector<kvalign_edge_tensor> views = views_of(geometry, streams_STd);
  const bool is_flat = views.size() == 1;
  kvalign_edge_packet packet = packet_of(streams_STd, token_ids, options);
  const kvalign_edge_cache cache{views.data(), is_flat ? nullptr : views.data() + views.size() / 2,
                                 0, packet.num_tokens};
  const Setup setup = set_up(geometry, is_flat, options);
  size_t bytes = 0;
  check(kvalign_edge_encoder_bytes(&setup.options, &bytes));
  const AlignedMemory memory = aligned_memory(bytes);
  kvalign_edge_encoder* encoder = nullptr;
  check(kvalign_edge_encoder_create(&setup.options, memory.get(), bytes, &encoder));

  kvalign_edge_sizes sizes{};
  check(kvalign_edge_packet_sizes(encoder, &packet, &sizes));
  std::vector<float> scales(sizes.num_static_scales, setup.info.wire_scale);
  if (!scales.empty()) {
    if (!setup.is_wire) {
      check(kvalign_edge_choose_scales(encoder, &packet, &cache, scales.data(), scales.size()));
    }
    packet.static_scales = scales.data();
    packet.num_static_scales = scales.size();
  }
  EncodedPacket encoded;
  encoded.bytes.resize(sizes.packet_bytes);
  write_packet(encoder, packet, cache, encoded);
  return encoded;
}

std::string geometry_id(const KvGeometry& geometry) {
  return sha256_hex(to_json(geometry).dump());
}

PacketId packet_id(const std::string& digits) {
  constexpr const char* kDigits = "0123456789abcdef";
  PacketId id{};
  if (digits.size() != 2 * id.size() || digits.find_first_not_of(kDigits) != std::string::npos) {
    throw std::invalid_argument("packet_id: expected 64 digits 0-9a-f, got '" + digits + "'");
  }
  for (size_t i = 0; i < id.size(); ++i) {
    id[i] = static_cast<uint8_t>(std::stoi(digits.substr(2 * i, 2), nullptr, 16));
  }
  return id;
}

}  // namespace kvalign
