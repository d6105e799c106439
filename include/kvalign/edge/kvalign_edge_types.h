/* The structs of kvalign_edge.h. C99. Those with a struct_size begin with it: set it to sizeof the
 * struct, and everything else to zero before the fields that you use. Later ABI versions append
 * fields and still take the shorter structs. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kvalign/edge/kvalign_edge_tensor.h"

/* Numbers as in the packet (kvalign/format/packet.h). */
enum {
  KVALIGN_EDGE_E4M3FN = 1,
  KVALIGN_EDGE_E5M2 = 2,
  KVALIGN_EDGE_F16 = 3,
  KVALIGN_EDGE_BF16 = 4,
  KVALIGN_EDGE_F32 = 5
};
/* Which elements share a scale; FP8 only. TENSOR, HEAD and CHANNEL are static: the packet carries
 * them before its first token, see kvalign_edge_packet.static_scales. */
enum {
  KVALIGN_EDGE_SCALES_NONE = 0,
  KVALIGN_EDGE_SCALES_TENSOR = 1,
  KVALIGN_EDGE_SCALES_HEAD = 2,
  KVALIGN_EDGE_SCALES_TOKEN = 3,
  KVALIGN_EDGE_SCALES_CHANNEL = 4,
  KVALIGN_EDGE_SCALES_BLOCK32 = 5
};
/* Channels that RoPE turns together, for P inverse frequencies: (p, p + P), or (2p, 2p + 1). */
enum { KVALIGN_EDGE_PAIRING_HALF = 0, KVALIGN_EDGE_PAIRING_INTERLEAVED = 1 };

/* An encoder, for its life. Pointers are borrowed: inverse_frequencies during the call that takes
 * the options, encoder_file until the encoder is no longer used. */
typedef struct kvalign_edge_options {
  uint32_t struct_size;
  uint32_t num_layers; /* of the model whose cache is read; 1 for a flat cache */
  uint32_t num_kv_heads;
  uint32_t head_dim;
  uint32_t is_flat;        /* 1: one stream without layers, given as keys; 0: keys and values */
  uint32_t element;        /* KVALIGN_EDGE_E4M3FN .. */
  uint32_t scales;         /* KVALIGN_EDGE_SCALES_NONE .. */
  uint32_t all_token_ids;  /* 1: each token travels with its id; 0: only those in no chunk */
  uint8_t geometry_id[32]; /* of the model; must be the encoder file's where there is one */
  /* Keys with rotary positions are turned back, as packets hold content keys. NULL and 0 for keys
   * without. Radians a token, of the model's own scaling, each in [0, 1]; of the channels
   * 0 .. 2 * num_inverse_frequencies - 1, the others pass. Models whose cosines are multiplied by a
   * factor (YaRN) are not covered. */
  const float* inverse_frequencies;
  uint32_t num_inverse_frequencies;
  uint32_t pairing; /* KVALIGN_EDGE_PAIRING_HALF .. */
  /* Makes latents: what `kvalign export --format edge` wrote, at an address that is a multiple of
   * 64 (mapped files are). NULL and 0 send the cache itself. */
  const void* encoder_file;
  size_t encoder_file_bytes;
} kvalign_edge_options;

/* One packet: T tokens, of which the first num_sinks and the last num_reread travel as ids alone,
 * and the others in chunks. Pointers are borrowed until the packet is finished. */
typedef struct kvalign_edge_packet {
  uint32_t struct_size;
  uint32_t num_tokens;   /* T, at least 1 */
  uint32_t chunk_tokens; /* at least 1; the last chunk holds the rest */
  uint32_t num_sinks;
  uint32_t num_reread;
  uint64_t position_offset; /* position of the first token; RoPE: the last one must be below 2^24 */
  /* [T], or NULL where no id travels. An id is read when its record is written, not before. */
  const int32_t* token_ids;
  /* Static scales, from earlier data or from kvalign_edge_choose_scales; else NULL and 0. float32
   * [M] (tensor), [M, num_kv_heads] (head), [M, W] (channel), for M streams (keys of layer 0 ..
   * L-1, then values; 1 for a flat cache or a latent) of W elements (num_kv_heads * head_dim, or
   * rank). */
  const float* static_scales;
  size_t num_static_scales;
} kvalign_edge_packet;

/* Tokens first_token .. first_token + num_tokens - 1 of a packet, counted from its first, sinks
 * included. Tokens that travel as ids alone are never read. */
typedef struct kvalign_edge_cache {
  const kvalign_edge_tensor* keys;   /* [num_layers] */
  const kvalign_edge_tensor* values; /* [num_layers]; NULL for a flat cache */
  uint32_t first_token;
  uint32_t num_tokens;
} kvalign_edge_cache;

/* Bytes of the caller to which records are appended; to use it anew, set size to 0. */
typedef struct kvalign_edge_buffer {
  uint8_t* data;
  size_t capacity;
  size_t size;
} kvalign_edge_buffer;

/* Sizes of a packet, in bytes where nothing else is said. */
typedef struct kvalign_edge_sizes {
  uint64_t packet_bytes;
  uint64_t begin_bytes;
  uint64_t chunk_bytes; /* of the largest chunk; 0 where there is none */
  uint64_t finish_bytes;
  uint64_t num_chunks;
  uint64_t num_static_scales; /* floats; 0 unless scales are static */
} kvalign_edge_sizes;

/* Where a number is not finite. For a latent's own number: layer, is_values and head are 0, channel
 * is its place. */
typedef struct kvalign_edge_fault {
  uint32_t layer;
  uint32_t is_values;
  uint32_t token; /* counted from the packet's first */
  uint32_t head;
  uint32_t channel;
} kvalign_edge_fault;

/* Of the packet so far. */
typedef struct kvalign_edge_counts {
  uint64_t saturated; /* elements beyond the largest finite value, made that value */
  uint64_t flushed;   /* elements other than zero that became zero */
} kvalign_edge_counts;

/* What an encoder file says of itself. */
typedef struct kvalign_edge_file_info {
  uint32_t num_layers, num_kv_heads, head_dim, is_flat;
  uint32_t rank;         /* numbers of a latent */
  uint32_t wire_element; /* what its training rounded latents to: KVALIGN_EDGE_E4M3FN .. */
  float wire_scale;      /* for FP8: the static scale of the tensor that training rounded with */
  uint8_t geometry_id[32];
  uint8_t encoder_id[32];
} kvalign_edge_file_info;
