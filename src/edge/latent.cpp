// The sum of a row's products is defined as follows, with float32 additions and multiplications
// that are rounded one by one:
//   partial[j] = ((w[j] x[j] + w[j+16] x[j+16]) + w[j+32] x[j+32]) + ..      for j = 0 .. 15
//   lane[j]    = (partial[j] + partial[j+4]) + (partial[j+8] + partial[j+12])   for j = 0 .. 3
//   latent     = bias + ((lane[0] + lane[1]) + (lane[2] + lane[3]))
// Sixteen sums keep four vectors of NEON or SSE busy. No fused multiplication: x86-64 has none
// without AVX2, and emulating it is slow, while Cortex-A57 and A78AE lose a few per cent without
// it.
#include "latent.h"

#include <cstring>

namespace kvalign {
namespace {

// Arithmetic on such vectors is that of their elements, in GCC and Clang alike.
typedef float Lanes __attribute__((vector_size(16)));

constexpr uint32_t kVectors = kEncoderRowFloats / 4;

Lanes load(const float* floats) noexcept {
  Lanes lanes;
  std::memcpy(&lanes, floats, sizeof lanes);
  return lanes;
}

// Tokens are taken together to read a weight once for all of them.
template <uint32_t num_tokens>
void make_numbers(const float* weights, const float* features, uint64_t row_floats, float* sums) {
  Lanes partial[num_tokens][kVectors] = {};
  for (uint64_t i = 0; i < row_floats; i += kEncoderRowFloats) {
    for (uint32_t vector = 0; vector < kVectors; ++vector) {
      const Lanes weight = load(weights + i + 4 * vector);
      for (uint32_t token = 0; token < num_tokens; ++token) {
        partial[token][vector] += weight * load(features + token * row_floats + i + 4 * vector);
      }
    }
  }
  for (uint32_t token = 0; token < num_tokens; ++token) {
    const Lanes lane =
        (partial[token][0] + partial[token][1]) + (partial[token][2] + partial[token][3]);
    sums[token] = (lane[0] + lane[1]) + (lane[2] + lane[3]);
  }
}

}  // namespace

void make_latents(const EncoderFile& file, const float* features, uint32_t num_tokens,
                  float* latents) noexcept {
  const uint64_t row_floats = file.layout.row_floats;
  const uint32_t rank = file.header.rank;
  for (uint32_t number = 0; number < rank; ++number) {
    const float* weights = file.weights + number * row_floats;
    uint32_t token = 0;
    float sums[2];
    for (; token + 2 <= num_tokens; token += 2) {
      make_numbers<2>(weights, features + token * row_floats, row_floats, sums);
      latents[uint64_t{token} * rank + number] = file.bias[number] + sums[0];
      latents[uint64_t{token + 1} * rank + number] = file.bias[number] + sums[1];
    }
    if (token < num_tokens) {
      make_numbers<1>(weights, features + token * row_floats, row_floats, sums);
      latents[uint64_t{token} * rank + number] = file.bias[number] + sums[0];
    }
  }
}

}  // namespace kvalign
