/* How a cache lies in memory: a strided view of the keys or the values of one layer, and the views
 * of the engines that we know. Nothing is copied; the memory must stay as it is during a call. C99.
 *
 * Element (token, head, channel) of a layer is at, counted in elements from `data`:
 *     token * token_stride + head * head_stride + channel * channel_stride
 * and where the cache is paged, from blocks[token / block_tokens], with token % block_tokens.
 *
 * Shapes:  N kv heads   T tokens that the engine has room for   H head dim
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef uint32_t kvalign_edge_dtype;
enum { KVALIGN_EDGE_DTYPE_F32 = 1, KVALIGN_EDGE_DTYPE_F16 = 2, KVALIGN_EDGE_DTYPE_BF16 = 3 };

typedef struct kvalign_edge_tensor {
  const void* data;          /* no alignment needed; NULL where the cache is paged */
  const void* const* blocks; /* paged: where each block begins; else NULL */
  uint32_t block_tokens;     /* paged: tokens of a block; else 0 */
  kvalign_edge_dtype dtype;
  int64_t token_stride; /* strides in elements */
  int64_t head_stride;
  int64_t channel_stride;
} kvalign_edge_tensor;

/* transformers, one row of a batch: [N, T, H]. T is the tensor's third size, not the number of
 * tokens in use, where the cache is a static one. */
static inline kvalign_edge_tensor kvalign_edge_transformers(const void* data,
                                                            kvalign_edge_dtype dtype,
                                                            uint32_t tokens, uint32_t head_dim) {
  kvalign_edge_tensor tensor = {data, NULL, 0, dtype, 0, 0, 1};
  tensor.token_stride = head_dim;
  tensor.head_stride = (int64_t)tokens * head_dim;
  return tensor;
}

/* llama.cpp, one sequence in consecutive cells: keys [T, N * H], and values too where flash
 * attention is on. Only caches of type f32, f16 and bf16: quantised ones have no strides. `data` is
 * the cell of the view's first token. */
static inline kvalign_edge_tensor kvalign_edge_llama_cpp(const void* data, kvalign_edge_dtype dtype,
                                                         uint32_t num_kv_heads, uint32_t head_dim) {
  kvalign_edge_tensor tensor = {data, NULL, 0, dtype, 0, 0, 1};
  tensor.token_stride = (int64_t)num_kv_heads * head_dim;
  tensor.head_stride = head_dim;
  return tensor;
}

/* llama.cpp's values without flash attention: transposed, [N * H, T] with T the cells of the cache
 * (kv_size). */
static inline kvalign_edge_tensor kvalign_edge_llama_cpp_transposed(const void* data,
                                                                    kvalign_edge_dtype dtype,
                                                                    uint32_t cells,
                                                                    uint32_t head_dim) {
  kvalign_edge_tensor tensor = {data, NULL, 0, dtype, 1, 0, 0};
  tensor.head_stride = (int64_t)cells * head_dim;
  tensor.channel_stride = cells;
  return tensor;
}

/* TensorRT-LLM, contiguous: [2, N, T, H] of one sequence, keys before values. `data` is where the
 * keys begin, for both. */
static inline kvalign_edge_tensor kvalign_edge_tensorrt_llm(const void* data,
                                                            kvalign_edge_dtype dtype, int is_values,
                                                            uint32_t num_kv_heads, uint32_t tokens,
                                                            uint32_t head_dim) {
  kvalign_edge_tensor tensor = kvalign_edge_transformers(data, dtype, tokens, head_dim);
  size_t half = (size_t)num_kv_heads * tokens * head_dim;
  size_t element = dtype == KVALIGN_EDGE_DTYPE_F32 ? 4 : 2;
  if (is_values && data != NULL) tensor.data = (const char*)data + half * element;
  return tensor;
}

/* TensorRT-LLM, paged: blocks [N, block_tokens, H], the keys' and the values' each with a table of
 * their own. blocks: [ceil(tokens / block_tokens)], in the order of the tokens. */
static inline kvalign_edge_tensor kvalign_edge_tensorrt_llm_paged(const void* const* blocks,
                                                                  kvalign_edge_dtype dtype,
                                                                  uint32_t block_tokens,
                                                                  uint32_t head_dim) {
  kvalign_edge_tensor tensor = kvalign_edge_transformers(NULL, dtype, block_tokens, head_dim);
  tensor.blocks = blocks;
  tensor.block_tokens = block_tokens;
  return tensor;
}
