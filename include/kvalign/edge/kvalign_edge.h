/* libkvalign_edge: makes a packet of a model's KV cache on the device that ran the model. C99 on
 * the outside, C++17 within; no exceptions, no allocation at all, no dependency but libc.
 *
 *   kvalign_edge_encoder_bytes(&options, &bytes);
 *   kvalign_edge_encoder_create(&options, memory, bytes, &encoder);
 *   kvalign_edge_packet_sizes(encoder, &packet, &sizes);
 *   kvalign_edge_begin(encoder, &packet, &buffer);
 *   for each chunk, as soon as the model has made its tokens:
 *     kvalign_edge_chunk(encoder, &cache, &buffer);
 *   kvalign_edge_finish(encoder, &buffer);
 *
 * examples/edge_encode.c is a whole program. Bytes that were appended to the buffer can be sent and
 * the buffer used again between any two calls.
 *
 * Packets are the same to the last bit on x86-64 and aarch64, whatever instructions the library was
 * compiled for: it uses IEEE float32 and float64 additions, multiplications and divisions in a
 * fixed order, never contracted to fused ones, and cosines of its own. The floating-point
 * environment must be the default one: rounding to nearest, subnormal numbers kept.
 *
 * Threads: an encoder is used by one thread at a time; different encoders need no care.
 * Errors: every call says what was wrong and has then changed nothing that the caller can see,
 * except bytes of the buffer beyond its size; the call may be repeated. No call checks that
 * pointers lead to as much memory as the caller says.
 *
 * Compiling for a device (CMakePresets.json has both):
 *   Jetson Nano (Cortex-A57)    -march=armv8-a+crc -mtune=cortex-a57
 *       The core has no FP16 arithmetic. None is needed: FP16 caches are converted on entry.
 *   Jetson Orin (Cortex-A78AE)  -mcpu=cortex-a78ae
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kvalign/edge/kvalign_edge_status.h"
#include "kvalign/edge/kvalign_edge_types.h"
#include "kvalign/format/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of the header; a library of another version has other structs or other functions. */
#define KVALIGN_EDGE_ABI_VERSION 1
/* Of the library. */
KVALIGN_API uint32_t kvalign_edge_abi_version(void);

typedef struct kvalign_edge_encoder kvalign_edge_encoder;

/* The encoder's memory must start at a multiple of this. */
#define KVALIGN_EDGE_ALIGNMENT 64

/* How much memory an encoder with these options takes.
 * Errors: NULL_ARGUMENT, WRONG_STRUCT_SIZE, the options' and the encoder file's. */
KVALIGN_API kvalign_edge_status kvalign_edge_encoder_bytes(const kvalign_edge_options* options,
                                                           size_t* bytes);

/* Makes an encoder in memory of the caller, which is all that it ever uses; there is nothing to
 * destroy. Reads the whole encoder file once.
 * Errors: as above; MEMORY_NOT_ALIGNED, MEMORY_TOO_SMALL. */
KVALIGN_API kvalign_edge_status kvalign_edge_encoder_create(const kvalign_edge_options* options,
                                                            void* memory, size_t bytes,
                                                            kvalign_edge_encoder** encoder);

/* Reads and checks an encoder file, for whoever wants to fill the options from it.
 * Errors: NULL_ARGUMENT, FILE_.. but FILE_OF_ANOTHER_GEOMETRY. */
KVALIGN_API kvalign_edge_status kvalign_edge_read_file_info(const void* file, size_t bytes,
                                                            kvalign_edge_file_info* info);

/* The sizes of a packet, before anything is written. Does not look at pointers in `packet`.
 * Errors: NULL_ARGUMENT, WRONG_STRUCT_SIZE, NO_TOKENS, TOO_MANY_RECOMPUTED, NO_CHUNK_TOKENS,
 * POSITION_TOO_LARGE, SIZE_OVERFLOW. */
KVALIGN_API kvalign_edge_status kvalign_edge_packet_sizes(const kvalign_edge_encoder* encoder,
                                                          const kvalign_edge_packet* packet,
                                                          kvalign_edge_sizes* sizes);

/* Static scales of a packet from its own cache: each sends the largest magnitude of its group to
 * the largest finite value. `cache` must hold all tokens of chunks. scales:
 * [sizes.num_static_scales]. May be called at any time between packets. Errors: those of
 * packet_sizes; WRONG_CALL within a packet; UNEXPECTED_SCALES for an encoder without static scales;
 * WRONG_SCALE_COUNT; those of a cache. `scales` then mean nothing. */
KVALIGN_API kvalign_edge_status kvalign_edge_choose_scales(kvalign_edge_encoder* encoder,
                                                           const kvalign_edge_packet* packet,
                                                           const kvalign_edge_cache* cache,
                                                           float* scales, size_t num_scales);

/* Appends the packet's header, static scales and the sinks' ids; begins a packet, also in the
 * middle of another one. Errors: those of packet_sizes; MISSING_TOKEN_IDS, MISSING_SCALES,
 * UNEXPECTED_SCALES, WRONG_SCALE_COUNT, WRONG_SCALE, BUFFER_TOO_SMALL. */
KVALIGN_API kvalign_edge_status kvalign_edge_begin(kvalign_edge_encoder* encoder,
                                                   const kvalign_edge_packet* packet,
                                                   kvalign_edge_buffer* buffer);

/* Appends the next chunk; `cache` must hold its tokens.
 * Errors: NULL_ARGUMENT; WRONG_CALL where no chunk is left; BUFFER_TOO_SMALL, UNKNOWN_DTYPE,
 * TOKENS_MISSING, NOT_FINITE, LATENT_NOT_FINITE. */
KVALIGN_API kvalign_edge_status kvalign_edge_chunk(kvalign_edge_encoder* encoder,
                                                   const kvalign_edge_cache* cache,
                                                   kvalign_edge_buffer* buffer);

/* Appends the end, with the ids of the re-read tokens.
 * Errors: NULL_ARGUMENT, WRONG_CALL where chunks are left, BUFFER_TOO_SMALL. */
KVALIGN_API kvalign_edge_status kvalign_edge_finish(kvalign_edge_encoder* encoder,
                                                    kvalign_edge_buffer* buffer);

/* Chunks of the packet that are still to be written. Here and below `encoder` must not be NULL. */
KVALIGN_API uint32_t kvalign_edge_chunks_left(const kvalign_edge_encoder* encoder);
/* Of the last call that ended in NOT_FINITE or LATENT_NOT_FINITE: the first that it came upon. */
KVALIGN_API kvalign_edge_fault kvalign_edge_encoder_fault(const kvalign_edge_encoder* encoder);
KVALIGN_API kvalign_edge_counts kvalign_edge_encoder_counts(const kvalign_edge_encoder* encoder);

#ifdef __cplusplus
}
#endif
