// The vector codec on all threads. See codec_buffers.h.
#include "codec_buffers.h"

#include <ATen/Parallel.h>

#include <atomic>
#include <span>

#include "kvalign/ops/fp8_codec.h"

namespace kvalign::benchmark {
namespace {

constexpr int64_t kLeastTokens = 64;  // of a thread

// Some rows of a tensor.
template <class Type>
std::span<Type> rows_of(const at::Tensor& tensor, int64_t tokens, int64_t begin, int64_t end) {
  const int64_t width = tensor.numel() / tokens;
  return {static_cast<Type*>(tensor.data_ptr()) + begin * width,
          static_cast<size_t>((end - begin) * width)};
}

template <class Convert>
void in_parts(const CodecBuffers& buffers, const Convert& convert) {
  std::atomic<bool> ok = true;
  at::parallel_for(0, buffers.values_TD.size(0), kLeastTokens, [&](int64_t begin, int64_t end) {
    Fp8Layout part = buffers.layout;
    part.tokens = static_cast<size_t>(end - begin);
    if (!convert(part, begin, end).ok()) ok = false;
  });
  TORCH_CHECK(ok, "codec: a conversion failed");
}

}  // namespace

void encode_on_cpu(const CodecBuffers& buffers) {
  const int64_t tokens = buffers.values_TD.size(0);
  in_parts(buffers, [&](const Fp8Layout& part, int64_t begin, int64_t end) {
    return fast::quantise_fp8(part, rows_of<const float>(buffers.values_TD, tokens, begin, end),
                              rows_of<float>(buffers.scales, tokens, begin, end),
                              rows_of<uint8_t>(buffers.codes_TD, tokens, begin, end));
  });
}

void decode_on_cpu(const CodecBuffers& buffers) {
  const int64_t tokens = buffers.values_TD.size(0);
  in_parts(buffers, [&](const Fp8Layout& part, int64_t begin, int64_t end) {
    return fast::dequantise_fp8(part, rows_of<const uint8_t>(buffers.codes_TD, tokens, begin, end),
                                rows_of<const float>(buffers.scales, tokens, begin, end),
                                rows_of<float>(buffers.decoded_TD, tokens, begin, end));
  });
}

}  // namespace kvalign::benchmark
