// One loop for each type, and one more for neighbouring channels, which vectorises.
#include "gather.h"

#include <cstring>

#include "kvalign/format/half.h"

namespace kvalign {
namespace {

struct F32 {
  using Element = float;
  static float to_float(float value) { return value; }
};
struct F16 {
  using Element = uint16_t;
  static float to_float(uint16_t value) { return float_of_f16(value); }
};
struct Bf16 {
  using Element = uint16_t;
  static float to_float(uint16_t value) { return float_of_bf16(value); }
};

// memcpy, as the caller's memory need not be aligned.
template <class Type>
float load(const char* bytes) noexcept {
  typename Type::Element element;
  std::memcpy(&element, bytes, sizeof element);
  return Type::to_float(element);
}

template <class Type>
void gather(const kvalign_edge_tensor& tensor, uint64_t token, uint32_t num_kv_heads,
            uint32_t head_dim, float* __restrict row) noexcept {
  constexpr int64_t size = sizeof(typename Type::Element);
  const bool paged = tensor.block_tokens != 0;
  const char* first =
      static_cast<const char*>(paged ? tensor.blocks[token / tensor.block_tokens] : tensor.data);
  first += static_cast<int64_t>(paged ? token % tensor.block_tokens : token) * tensor.token_stride *
           size;
  for (uint32_t head = 0; head < num_kv_heads; ++head, row += head_dim) {
    const char* channels = first + head * tensor.head_stride * size;
    if (tensor.channel_stride == 1) {
      for (uint32_t i = 0; i < head_dim; ++i) row[i] = load<Type>(channels + i * size);
    } else {
      const int64_t step = tensor.channel_stride * size;
      for (uint32_t i = 0; i < head_dim; ++i) row[i] = load<Type>(channels + i * step);
    }
  }
}

}  // namespace

void gather_row(const kvalign_edge_tensor& tensor, uint64_t token, uint32_t num_kv_heads,
                uint32_t head_dim, float* row) noexcept {
  switch (tensor.dtype) {
    case KVALIGN_EDGE_DTYPE_F32:
      return gather<F32>(tensor, token, num_kv_heads, head_dim, row);
    case KVALIGN_EDGE_DTYPE_F16:
      return gather<F16>(tensor, token, num_kv_heads, head_dim, row);
    default:
      return gather<Bf16>(tensor, token, num_kv_heads, head_dim, row);
  }
}

}  // namespace kvalign
