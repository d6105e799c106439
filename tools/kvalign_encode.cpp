// kvalign-encode: a cache in files to a packet, with libkvalign_edge and nothing else. Runs on the
// device; the server's command is `kvalign encode`.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "encode_flags.h"
#include "kvalign/edge/kvalign_edge.h"

namespace kvalign::tools {
namespace {

enum ExitCode { kDone = 0, kFailed = 1, kWrongUsage = 2 };

// What a run needs; the process ends with it, so mapped files and memory are left to the system.
struct Run {
  EncodeFlags flags;
  kvalign_edge_options options{};
  kvalign_edge_packet packet{};
  kvalign_edge_cache cache{};
  kvalign_edge_file_info info{};
  bool is_wire = false;  // of the encoder file: element and static scale are its own
  kvalign_edge_encoder* encoder = nullptr;
};

struct File {
  const void* data = nullptr;
  size_t bytes = 0;
};

bool map_file(const char* path, File& file) {
  const int descriptor = open(path, O_RDONLY);
  struct stat status {};
  if (descriptor < 0 || fstat(descriptor, &status) != 0) {
    std::perror(path);
    return false;
  }
  file.bytes = static_cast<size_t>(status.st_size);
  void* data = mmap(nullptr, file.bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  close(descriptor);
  file.data = data;
  if (data != MAP_FAILED) return true;
  std::perror(path);
  return false;
}

bool map_file_of(const char* path, size_t bytes, File& file) {
  if (!map_file(path, file)) return false;
  if (file.bytes == bytes) return true;
  std::fprintf(stderr, "%s: expected %zu bytes by the flags, got %zu\n", path, bytes, file.bytes);
  return false;
}

bool check(kvalign_edge_status status) {
  if (status != KVALIGN_EDGE_OK) {
    std::fprintf(stderr, "kvalign-encode: %s\n", kvalign_edge_status_text(status));
  }
  return status == KVALIGN_EDGE_OK;
}

bool parse_id(const char* hex, uint8_t* id) {
  bool right = std::strlen(hex) == 64 && std::strspn(hex, "0123456789abcdef") == 64;
  for (int i = 0; right && i < 32; ++i) {
    const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};
    id[i] = static_cast<uint8_t>(std::strtoul(digits, nullptr, 16));
  }
  if (!right) std::fprintf(stderr, "kvalign-encode: expected 64 digits 0-9a-f, got %s\n", hex);
  return right;
}

bool numbers_fit(const EncodeFlags& flags) {
  const uint64_t numbers[] = {flags.layers,   flags.kv_heads, flags.head_dim, flags.tokens,
                              flags.capacity, flags.chunk,    flags.sinks,    flags.reread};
  for (const uint64_t number : numbers) {
    if (number > UINT32_MAX) {
      std::fprintf(stderr, "kvalign-encode: expected numbers below 2^32\n");
      return false;
    }
  }
  if (flags.capacity == 0 || flags.capacity >= flags.tokens) return true;
  std::fprintf(stderr, "kvalign-encode: expected --capacity of --tokens or more\n");
  return false;
}

// What can be told from the flags alone.
bool read_names(Run& run) {
  static const char* const kElements[] = {"e4m3fn", "e5m2", "f16", "bf16", "f32", nullptr};
  static const char* const kScales[] = {"none",    "tensor",  "head", "token",
                                        "channel", "block32", nullptr};
  static const char* const kPairings[] = {"half", "interleaved", nullptr};
  const EncodeFlags& flags = run.flags;
  if (!numbers_fit(flags)) return false;
  kvalign_edge_options& options = run.options;
  options.struct_size = sizeof options;
  options.num_layers = static_cast<uint32_t>(flags.layers);
  options.num_kv_heads = static_cast<uint32_t>(flags.kv_heads);
  options.head_dim = static_cast<uint32_t>(flags.head_dim);
  options.is_flat = flags.flat ? 1 : 0;
  options.all_token_ids = flags.all_token_ids ? 1 : 0;
  const int element = find_name("--element", flags.element != nullptr ? flags.element : "e4m3fn",
                                kElements, KVALIGN_EDGE_E4M3FN);
  const char* default_scales = element <= KVALIGN_EDGE_E5M2 ? "token" : "none";
  const int scales =
      find_name("--scales", flags.scales != nullptr ? flags.scales : default_scales, kScales, 0);
  const int pairing = find_name("--pairing", flags.pairing, kPairings, 0);
  if (element < 0 || scales < 0 || pairing < 0) return false;
  options.element = static_cast<uint32_t>(element);
  options.scales = static_cast<uint32_t>(scales);
  options.pairing = static_cast<uint32_t>(pairing);
  run.is_wire = flags.encoder != nullptr && flags.element == nullptr && flags.scales == nullptr;
  if (flags.encoder == nullptr && flags.geometry_id == nullptr) {
    std::fprintf(stderr, "kvalign-encode: expected --geometry-id or --encoder\n");
    return false;
  }
  return flags.geometry_id == nullptr || parse_id(flags.geometry_id, options.geometry_id);
}

bool read_encoder(Run& run) {
  File file;
  if (run.flags.encoder == nullptr) return true;
  if (!map_file(run.flags.encoder, file) ||
      !check(kvalign_edge_read_file_info(file.data, file.bytes, &run.info))) {
    return false;
  }
  run.options.encoder_file = file.data;
  run.options.encoder_file_bytes = file.bytes;
  if (run.flags.geometry_id == nullptr) {
    std::memcpy(run.options.geometry_id, run.info.geometry_id, sizeof run.info.geometry_id);
  }
  if (run.is_wire) {
    run.options.element = run.info.wire_element;
    run.options.scales = run.info.wire_element <= KVALIGN_EDGE_E5M2 ? KVALIGN_EDGE_SCALES_TENSOR
                                                                    : KVALIGN_EDGE_SCALES_NONE;
  }
  return true;
}

bool make_encoder(Run& run) {
  File frequencies;
  const char* path = run.flags.inverse_frequencies;
  if (!read_encoder(run) || (path != nullptr && !map_file(path, frequencies))) return false;
  if (frequencies.bytes % sizeof(float) != 0) {
    std::fprintf(stderr, "%s: expected float32 numbers, got %zu bytes\n", path, frequencies.bytes);
    return false;
  }
  run.options.inverse_frequencies = static_cast<const float*>(frequencies.data);
  run.options.num_inverse_frequencies = static_cast<uint32_t>(frequencies.bytes / sizeof(float));
  size_t bytes = 0;
  if (!check(kvalign_edge_encoder_bytes(&run.options, &bytes))) return false;
  void* memory = std::aligned_alloc(KVALIGN_EDGE_ALIGNMENT, bytes);
  return memory != nullptr &&
         check(kvalign_edge_encoder_create(&run.options, memory, bytes, &run.encoder));
}

enum Layout { kTransformers, kLlamaCpp, kLlamaCppTransposed, kTensorRtLlm };

kvalign_edge_tensor view(const Run& run, Layout layout, kvalign_edge_dtype dtype, const void* layer,
                         bool is_values) {
  const auto heads = run.options.num_kv_heads;
  const auto head_dim = run.options.head_dim;
  const auto capacity = static_cast<uint32_t>(run.flags.capacity);
  if (layout == kTransformers) return kvalign_edge_transformers(layer, dtype, capacity, head_dim);
  if (layout == kTensorRtLlm) {
    return kvalign_edge_tensorrt_llm(layer, dtype, is_values, heads, capacity, head_dim);
  }
  if (layout == kLlamaCppTransposed && is_values) {
    return kvalign_edge_llama_cpp_transposed(layer, dtype, capacity, head_dim);
  }
  return kvalign_edge_llama_cpp(layer, dtype, heads, head_dim);
}

// Maps the cache's files and makes a view of each layer.
bool read_cache(Run& run, Layout layout, kvalign_edge_dtype dtype) {
  const EncodeFlags& flags = run.flags;
  const uint32_t layers = run.options.num_layers;
  const bool one_file = flags.flat || layout == kTensorRtLlm;
  if ((flags.values == nullptr) != one_file) {
    std::fprintf(stderr, "kvalign-encode: expected --values with layers, but for tensorrt_llm\n");
    return false;
  }
  const size_t element = dtype == KVALIGN_EDGE_DTYPE_F32 ? 4 : 2;
  const size_t width = size_t{run.options.num_kv_heads} * run.options.head_dim;  // below 2^31
  size_t layer_bytes = 0;
  size_t file_bytes = 0;
  if (__builtin_mul_overflow(width * element * (layout == kTensorRtLlm ? 2 : 1), flags.capacity,
                             &layer_bytes) ||
      __builtin_mul_overflow(layer_bytes, size_t{layers}, &file_bytes)) {
    std::fprintf(stderr, "kvalign-encode: expected a cache that this machine can address\n");
    return false;
  }
  File keys, values;
  if (!map_file_of(flags.keys, file_bytes, keys)) return false;
  if (!one_file && !map_file_of(flags.values, file_bytes, values)) return false;
  if (one_file) values = keys;
  auto* views = static_cast<kvalign_edge_tensor*>(
      std::calloc(size_t{2} * layers, sizeof(kvalign_edge_tensor)));
  if (views == nullptr) return false;
  for (uint32_t layer = 0; layer < layers; ++layer) {
    const size_t offset = layer * layer_bytes;
    views[layer] = view(run, layout, dtype, static_cast<const char*>(keys.data) + offset, false);
    views[layers + layer] =
        view(run, layout, dtype, static_cast<const char*>(values.data) + offset, true);
  }
  run.cache = {views, flags.flat ? nullptr : views + layers, 0,
               static_cast<uint32_t>(flags.tokens)};
  return true;
}

bool read_packet_values(Run& run, kvalign_edge_sizes& sizes) {
  const EncodeFlags& flags = run.flags;
  kvalign_edge_packet& packet = run.packet;
  packet.struct_size = sizeof packet;
  packet.num_tokens = static_cast<uint32_t>(flags.tokens);
  packet.chunk_tokens = static_cast<uint32_t>(flags.chunk);
  packet.num_sinks = static_cast<uint32_t>(flags.sinks);
  packet.num_reread = static_cast<uint32_t>(flags.reread);
  packet.position_offset = flags.position;
  File ids;
  if (flags.token_ids != nullptr) {
    if (!map_file_of(flags.token_ids, flags.tokens * sizeof(int32_t), ids)) return false;
    packet.token_ids = static_cast<const int32_t*>(ids.data);
  }
  if (!check(kvalign_edge_packet_sizes(run.encoder, &packet, &sizes))) return false;
  if (sizes.num_static_scales == 0) return true;
  packet.num_static_scales = sizes.num_static_scales;
  packet.static_scales = &run.info.wire_scale;
  if (run.is_wire) return true;
  auto* scales = static_cast<float*>(std::malloc(sizes.num_static_scales * sizeof(float)));
  packet.static_scales = scales;
  return scales != nullptr && check(kvalign_edge_choose_scales(run.encoder, &packet, &run.cache,
                                                               scales, sizes.num_static_scales));
}

// Writes what the buffer holds, and empties it.
bool write_out(const char* path, kvalign_edge_buffer& buffer, FILE* output) {
  const bool written = std::fwrite(buffer.data, 1, buffer.size, output) == buffer.size;
  if (!written) std::perror(path);
  buffer.size = 0;
  return written;
}

void print_fault(const kvalign_edge_fault& fault) {
  std::fprintf(stderr, "kvalign-encode: layer %u %s token %u head %u channel %u\n", fault.layer,
               fault.is_values ? "values" : "keys", fault.token, fault.head, fault.channel);
}

bool write_records(Run& run, const kvalign_edge_sizes& sizes, FILE* output) {
  const char* path = run.flags.output;
  uint64_t largest = sizes.begin_bytes > sizes.chunk_bytes ? sizes.begin_bytes : sizes.chunk_bytes;
  if (sizes.finish_bytes > largest) largest = sizes.finish_bytes;
  kvalign_edge_buffer buffer{static_cast<uint8_t*>(std::malloc(largest)), largest, 0};
  bool done = check(kvalign_edge_begin(run.encoder, &run.packet, &buffer)) &&
              write_out(path, buffer, output);
  while (done && kvalign_edge_chunks_left(run.encoder) > 0) {
    const kvalign_edge_status status = kvalign_edge_chunk(run.encoder, &run.cache, &buffer);
    if (status == KVALIGN_EDGE_NOT_FINITE || status == KVALIGN_EDGE_LATENT_NOT_FINITE) {
      print_fault(kvalign_edge_encoder_fault(run.encoder));
    }
    if (!check(status)) return false;
    done = write_out(path, buffer, output);
  }
  return done && check(kvalign_edge_finish(run.encoder, &buffer)) &&
         write_out(path, buffer, output);
}

bool write_packet(Run& run, const kvalign_edge_sizes& sizes) {
  const char* path = run.flags.output;
  FILE* output = std::fopen(path, "wb");
  if (output == nullptr) {
    std::perror(path);
    return false;
  }
  const bool written = write_records(run, sizes, output);
  const bool closed = std::fclose(output) == 0;
  if (!written || !closed) {
    if (!closed) std::perror(path);
    std::remove(path);
    return false;
  }
  const kvalign_edge_counts counts = kvalign_edge_encoder_counts(run.encoder);
  std::printf("%s: %llu bytes, %.1f a token; %llu elements saturated, %llu became zero\n", path,
              static_cast<unsigned long long>(sizes.packet_bytes),
              static_cast<double>(sizes.packet_bytes) / static_cast<double>(run.flags.tokens),
              static_cast<unsigned long long>(counts.saturated),
              static_cast<unsigned long long>(counts.flushed));
  return true;
}

int encode(int argc, char** argv) {
  static const char* const kLayouts[] = {"transformers", "llama_cpp", "llama_cpp_transposed",
                                         "tensorrt_llm", nullptr};
  static const char* const kDtypes[] = {"f32", "f16", "bf16", nullptr};
  Run run;
  if (!parse_flags(argc, argv, run.flags)) return kWrongUsage;
  if (run.flags.help) {
    print_help();
    return kDone;
  }
  if (!read_names(run)) return kWrongUsage;
  const int layout = find_name("--layout", run.flags.layout, kLayouts, 0);
  const int dtype = find_name("--dtype", run.flags.dtype, kDtypes, KVALIGN_EDGE_DTYPE_F32);
  if (layout < 0 || dtype < 0) return kWrongUsage;
  if (run.flags.capacity == 0) run.flags.capacity = run.flags.tokens;
  kvalign_edge_sizes sizes{};
  const bool done = make_encoder(run) &&
                    read_cache(run, static_cast<Layout>(layout), static_cast<uint32_t>(dtype)) &&
                    read_packet_values(run, sizes) && write_packet(run, sizes);
  return done ? kDone : kFailed;
}

}  // namespace
}  // namespace kvalign::tools

int main(int argc, char** argv) {
  return kvalign::tools::encode(argc, argv);
}
