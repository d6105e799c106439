/* Encodes a small cache on the device and writes the packet to a file, record by record, as a
 * device would send it. C99; needs libkvalign_edge and nothing else:
 *
 *   cc -std=c99 -I include examples/edge_encode.c -L build/edge -lkvalign_edge -o edge_encode
 *   LD_LIBRARY_PATH=build/edge ./edge_encode packet.bin
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvalign/edge/kvalign_edge.h"

enum { LAYERS = 2, HEADS = 2, HEAD_DIM = 64, TOKENS = 100, SINKS = 4 };

/* Where the model keeps its cache: transformers' layout, [N, T, H] for each layer. */
static float keys[LAYERS][HEADS * TOKENS * HEAD_DIM];
static float values[LAYERS][HEADS * TOKENS * HEAD_DIM];
static int32_t token_ids[TOKENS];

static void run_model(void) {
  int i;
  for (i = 0; i < HEADS * TOKENS * HEAD_DIM; ++i) {
    keys[0][i] = (float)(i % 97) - 48, keys[1][i] = (float)(i % 89) - 44;
    values[0][i] = (float)(i % 83) / 83, values[1][i] = (float)(i % 79) / 79;
  }
  for (i = 0; i < TOKENS; ++i) token_ids[i] = 1000 + i;
}

static void check(kvalign_edge_status status, const char* call) {
  if (status == KVALIGN_EDGE_OK) return;
  fprintf(stderr, "%s: %s\n", call, kvalign_edge_status_text(status));
  exit(1);
}

/* Sends what is in the buffer, and uses it again. */
static void send_records(kvalign_edge_buffer* buffer, FILE* connection) {
  if (fwrite(buffer->data, 1, buffer->size, connection) != buffer->size) {
    fprintf(stderr, "cannot write the packet\n");
    exit(1);
  }
  buffer->size = 0;
}

static kvalign_edge_encoder* make_encoder(void** to_free) {
  kvalign_edge_options options;
  kvalign_edge_encoder* encoder;
  size_t bytes;
  char* memory;
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  options.num_layers = LAYERS;
  options.num_kv_heads = HEADS;
  options.head_dim = HEAD_DIM;
  options.element = KVALIGN_EDGE_E4M3FN;
  options.scales = KVALIGN_EDGE_SCALES_BLOCK32;
  /* The receiver refuses packets of another geometry; `kvalign export --format edge` prints a
   * model's id. */
  memset(options.geometry_id, 1, sizeof options.geometry_id);

  check(kvalign_edge_encoder_bytes(&options, &bytes), "encoder_bytes");
  *to_free = memory = malloc(bytes + KVALIGN_EDGE_ALIGNMENT);
  if (memory == NULL) exit(1);
  memory += KVALIGN_EDGE_ALIGNMENT - (uintptr_t)memory % KVALIGN_EDGE_ALIGNMENT;
  check(kvalign_edge_encoder_create(&options, memory, bytes, &encoder), "encoder_create");
  return encoder;
}

static void send_packet(kvalign_edge_encoder* encoder, FILE* connection) {
  kvalign_edge_tensor key_views[LAYERS], value_views[LAYERS];
  kvalign_edge_cache cache = {key_views, value_views, 0, TOKENS};
  kvalign_edge_packet packet;
  kvalign_edge_buffer buffer = {NULL, 0, 0};
  kvalign_edge_sizes sizes;
  int layer;
  for (layer = 0; layer < LAYERS; ++layer) {
    key_views[layer] =
        kvalign_edge_transformers(keys[layer], KVALIGN_EDGE_DTYPE_F32, TOKENS, HEAD_DIM);
    value_views[layer] =
        kvalign_edge_transformers(values[layer], KVALIGN_EDGE_DTYPE_F32, TOKENS, HEAD_DIM);
  }
  memset(&packet, 0, sizeof packet);
  packet.struct_size = sizeof packet;
  packet.num_tokens = TOKENS;
  packet.chunk_tokens = 32;
  packet.num_sinks = SINKS;
  packet.token_ids = token_ids;

  /* Room for the largest record; the whole packet never has to be in memory. */
  check(kvalign_edge_packet_sizes(encoder, &packet, &sizes), "packet_sizes");
  buffer.capacity = sizes.begin_bytes > sizes.chunk_bytes ? sizes.begin_bytes : sizes.chunk_bytes;
  if (buffer.capacity < sizes.finish_bytes) buffer.capacity = sizes.finish_bytes;
  buffer.data = malloc(buffer.capacity);
  if (buffer.data == NULL) exit(1);

  check(kvalign_edge_begin(encoder, &packet, &buffer), "begin");
  send_records(&buffer, connection);
  while (kvalign_edge_chunks_left(encoder) > 0) {
    /* A chunk may leave as soon as the model has filled its part of the cache. */
    check(kvalign_edge_chunk(encoder, &cache, &buffer), "chunk");
    send_records(&buffer, connection);
  }
  check(kvalign_edge_finish(encoder, &buffer), "finish");
  send_records(&buffer, connection);
  free(buffer.data);
  printf("%lu bytes, %.1f a token\n", (unsigned long)sizes.packet_bytes,
         (double)sizes.packet_bytes / TOKENS);
}

int main(int argc, char** argv) {
  void* to_free;
  FILE* connection;
  if (argc != 2) {
    fprintf(stderr, "usage: edge_encode PACKET\n");
    return 2;
  }
  if (kvalign_edge_abi_version() != KVALIGN_EDGE_ABI_VERSION) {
    fprintf(stderr, "libkvalign_edge is of another version than its header\n");
    return 1;
  }
  connection = fopen(argv[1], "wb");
  if (connection == NULL) {
    fprintf(stderr, "cannot open %s\n", argv[1]);
    return 1;
  }
  run_model();
  send_packet(make_encoder(&to_free), connection);
  free(to_free);
  return fclose(connection) == 0 ? 0 : 1;
}
