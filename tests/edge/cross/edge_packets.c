/* Encodes made-up caches in every configuration and prints a line for each packet: its name, bytes,
 * FNV-1a hash, and what saturated and vanished. Two machines agree where their output does. C99 and
 * nothing but the library, so that it runs wherever that does.
 *
 *   edge_packets tests/golden/encoder_v1.bin
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvalign/edge/kvalign_edge.h"

enum { LAYERS = 2, HEADS = 2, DIM = 18, TOKENS = 37, CHUNK = 11, SINKS = 3, REREAD = 2, PAIRS = 8 };
enum { BLOCK = 5, BLOCKS = (TOKENS + BLOCK - 1) / BLOCK, CELLS = BLOCKS * BLOCK };
enum { ELEMENTS = HEADS * CELLS * DIM, FILE_BYTES = 1 << 16, PACKET_BYTES = 1 << 16 };

typedef enum { TRANSFORMERS, LLAMA_CPP, LLAMA_CPP_TRANSPOSED, TENSORRT_LLM, PAGED } Layout;
static const char* const kLayouts[] = {"transformers", "llama_cpp", "llama_cpp_transposed",
                                       "tensorrt_llm", "tensorrt_llm_paged"};
static const char* const kDtypes[] = {"", "f32", "f16", "bf16"};
static const char* const kElements[] = {"", "e4m3fn", "e5m2", "f16", "bf16", "f32"};
static const char* const kScales[] = {"none", "tensor", "head", "token", "channel", "block32"};

typedef struct {
  const char* name;
  Layout layout;
  kvalign_edge_dtype dtype;
  uint32_t element, scales, is_flat, pairs, pairing;
  int is_latent;
} Case;

static union {
  float aligned[ELEMENTS];
  unsigned char bytes[ELEMENTS * 4];
} cache_bytes[2 * LAYERS]; /* keys of layer 0 .. L-1, then values */
static unsigned char packet_bytes[PACKET_BYTES];
static float static_scales[2 * LAYERS * HEADS * DIM];
static int32_t token_ids[TOKENS];
static void* encoder_file;
static size_t encoder_file_bytes;

static void fail(const char* name, kvalign_edge_status status) {
  fprintf(stderr, "%s: %s\n", name, kvalign_edge_status_text(status));
  exit(1);
}

/* Marsaglia's xorshift; magnitudes of 2^-12 to 2^4 with any mantissa, zeros, and sometimes
 * subnormal numbers of the type. */
static uint32_t next_bits(void) {
  static uint64_t state = 88172645463325252u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32);
}

static void fill(unsigned char* bytes, kvalign_edge_dtype dtype) {
  int i;
  for (i = 0; i < ELEMENTS; ++i) {
    uint32_t random = next_bits();
    uint32_t kind = random >> 4 & 31;
    uint32_t sign = random & 1;
    uint32_t mantissa = next_bits();
    uint32_t exponent = kind >= 2 ? 115 + kind % 16 : 0; /* of float32 */
    if (kind == 0) mantissa = 0;
    if (dtype == KVALIGN_EDGE_DTYPE_F16) {
      uint32_t half_exponent = exponent != 0 ? exponent - 112 : 0;
      uint16_t half = (uint16_t)(sign << 15 | half_exponent << 10 | (mantissa & 0x3FF));
      memcpy(bytes + 2 * i, &half, 2);
    } else if (dtype == KVALIGN_EDGE_DTYPE_BF16) {
      uint16_t half = (uint16_t)(sign << 15 | exponent << 7 | (mantissa & 0x7F));
      memcpy(bytes + 2 * i, &half, 2);
    } else {
      uint32_t word = sign << 31 | exponent << 23 | (mantissa & 0x7FFFFF);
      memcpy(bytes + 4 * i, &word, 4);
    }
  }
}

static kvalign_edge_tensor view(Layout layout, kvalign_edge_dtype dtype, const unsigned char* data,
                                const void** blocks) {
  int i;
  size_t block_bytes = (size_t)HEADS * BLOCK * DIM * (dtype == KVALIGN_EDGE_DTYPE_F32 ? 4 : 2);
  switch (layout) {
    case TRANSFORMERS:
      return kvalign_edge_transformers(data, dtype, CELLS, DIM);
    case LLAMA_CPP:
      return kvalign_edge_llama_cpp(data, dtype, HEADS, DIM);
    case LLAMA_CPP_TRANSPOSED:
      return kvalign_edge_llama_cpp_transposed(data, dtype, CELLS, DIM);
    case TENSORRT_LLM:
      return kvalign_edge_tensorrt_llm(data, dtype, 0, HEADS, CELLS, DIM);
    default:
      for (i = 0; i < BLOCKS; ++i) blocks[i] = data + (BLOCKS - 1 - i) * block_bytes;
      return kvalign_edge_tensorrt_llm_paged(blocks, dtype, BLOCK, DIM);
  }
}

static kvalign_edge_options options_of(const Case* c) {
  static float frequencies[PAIRS];
  kvalign_edge_options options;
  int i;
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  options.num_layers = c->is_flat ? 1 : LAYERS;
  options.num_kv_heads = HEADS;
  options.head_dim = DIM;
  options.is_flat = c->is_flat;
  options.element = c->element;
  options.scales = c->scales;
  options.all_token_ids = c->is_latent ? 0 : 1;
  for (i = 0; i < 32; ++i) options.geometry_id[i] = (uint8_t)i;
  for (i = 0; i < PAIRS; ++i) frequencies[i] = (float)(1.0 / (1 + i * i * i * 3));
  options.inverse_frequencies = c->pairs ? frequencies : NULL;
  options.num_inverse_frequencies = c->pairs;
  options.pairing = c->pairing;
  options.encoder_file = c->is_latent ? encoder_file : NULL;
  options.encoder_file_bytes = c->is_latent ? encoder_file_bytes : 0;
  return options;
}

static void* aligned_memory(size_t bytes, void** to_free) {
  *to_free = malloc(bytes + KVALIGN_EDGE_ALIGNMENT);
  return (char*)*to_free + (KVALIGN_EDGE_ALIGNMENT - (uintptr_t)*to_free % KVALIGN_EDGE_ALIGNMENT);
}

static void print_packet(const Case* c, const kvalign_edge_buffer* buffer,
                         kvalign_edge_counts counts) {
  uint64_t hash = 14695981039346656037u;
  size_t i;
  for (i = 0; i < buffer->size; ++i) hash = (hash ^ buffer->data[i]) * 1099511628211u;
  printf("%s %s %s %s %s pairs %u/%u: %zu bytes %016" PRIx64 " saturated %" PRIu64
         " flushed %" PRIu64 "\n",
         c->name, kLayouts[c->layout], kDtypes[c->dtype], kElements[c->element], kScales[c->scales],
         c->pairs, c->pairing, buffer->size, hash, counts.saturated, counts.flushed);
}

static void run(const Case* c) {
  static const void* blocks[2 * LAYERS][BLOCKS];
  kvalign_edge_tensor tensors[2 * LAYERS];
  kvalign_edge_cache cache = {tensors, NULL, 0, TOKENS};
  kvalign_edge_options options = options_of(c);
  kvalign_edge_packet packet = {sizeof packet, TOKENS,    CHUNK, SINKS, REREAD,
                                1000,          token_ids, NULL,  0};
  kvalign_edge_buffer buffer = {packet_bytes, PACKET_BYTES, 0};
  kvalign_edge_encoder* encoder;
  kvalign_edge_sizes sizes;
  kvalign_edge_status status;
  void* to_free;
  size_t bytes;
  int i;
  for (i = 0; i < 2 * LAYERS; ++i) {
    fill(cache_bytes[i].bytes, c->dtype);
    tensors[i] = view(c->layout, c->dtype, cache_bytes[i].bytes, blocks[i]);
  }
  if (!c->is_flat) cache.values = tensors + LAYERS;

  if ((status = kvalign_edge_encoder_bytes(&options, &bytes))) fail(c->name, status);
  status = kvalign_edge_encoder_create(&options, aligned_memory(bytes, &to_free), bytes, &encoder);
  if (status || (status = kvalign_edge_packet_sizes(encoder, &packet, &sizes))) {
    fail(c->name, status);
  }
  if (sizes.num_static_scales > 0) {
    packet.static_scales = static_scales;
    packet.num_static_scales = sizes.num_static_scales;
    status = kvalign_edge_choose_scales(encoder, &packet, &cache, static_scales,
                                        sizes.num_static_scales);
    if (status) fail(c->name, status);
    /* As if from other data: some elements saturate. */
    for (i = 0; i < (int)sizes.num_static_scales; i += 2) static_scales[i] *= 0.375f;
  }
  if ((status = kvalign_edge_begin(encoder, &packet, &buffer))) fail(c->name, status);
  while (kvalign_edge_chunks_left(encoder) > 0) {
    if ((status = kvalign_edge_chunk(encoder, &cache, &buffer))) fail(c->name, status);
  }
  if ((status = kvalign_edge_finish(encoder, &buffer))) fail(c->name, status);
  print_packet(c, &buffer, kvalign_edge_encoder_counts(encoder));
  free(to_free);
}

static void run_all(void) {
  Case c = {"cache", TRANSFORMERS, KVALIGN_EDGE_DTYPE_F32, 0, 0, 0, 0, 0, 0};
  /* Every element with every kind of scales, of a cache, a flat cache and a latent. */
  for (c.element = KVALIGN_EDGE_E4M3FN; c.element <= KVALIGN_EDGE_F32; ++c.element) {
    int is_fp8 = c.element <= KVALIGN_EDGE_E5M2;
    for (c.scales = 0; c.scales <= (is_fp8 ? KVALIGN_EDGE_SCALES_BLOCK32 : 0u); ++c.scales) {
      c.name = "cache", c.is_flat = 0, c.is_latent = 0, c.pairs = PAIRS;
      run(&c);
      c.name = "flat_cache", c.is_flat = 1, c.pairs = 0;
      run(&c);
      c.name = "latent", c.is_flat = 0, c.is_latent = 1, c.pairs = PAIRS;
      if (c.scales != KVALIGN_EDGE_SCALES_HEAD) run(&c);
    }
  }
  /* Every layout in every type, with both pairings. */
  c.name = "cache", c.is_latent = 0;
  c.element = KVALIGN_EDGE_E4M3FN, c.scales = KVALIGN_EDGE_SCALES_TOKEN;
  for (c.layout = TRANSFORMERS; c.layout <= PAGED; ++c.layout) {
    for (c.dtype = KVALIGN_EDGE_DTYPE_F32; c.dtype <= KVALIGN_EDGE_DTYPE_BF16; ++c.dtype) {
      for (c.pairing = 0; c.pairing <= KVALIGN_EDGE_PAIRING_INTERLEAVED; ++c.pairing) run(&c);
    }
  }
}

int main(int argc, char** argv) {
  void* to_free = NULL;
  FILE* file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  int i;
  if (file == NULL) {
    fprintf(stderr, "usage: edge_packets ENCODER_FILE, which must be there\n");
    return 2;
  }
  encoder_file = aligned_memory(FILE_BYTES, &to_free);
  encoder_file_bytes = fread(encoder_file, 1, FILE_BYTES, file);
  fclose(file);
  for (i = 0; i < TOKENS; ++i) token_ids[i] = 70000 + 3 * i;
  run_all();
  free(to_free);
  return 0;
}
