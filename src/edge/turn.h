// Keys with rotary positions back to content keys. ops/rope.h's remove_rope is the same, with
// LibTorch's cosines.
//
// Shapes:  T tokens   N kv heads   H head dim   P pairs of channels
#pragma once

#include <cstdint>

namespace kvalign {

// Cosine and sine of an angle of 0 to 2^24, for each float32 the same on every machine: libm's
// differ from platform to platform, and a table from the caller would move the problem to its libm.
// Within 2^-50 of the exact values before they are rounded to float32.
struct CosSin {
  float cos, sin;
};
CosSin cos_sin(float angle) noexcept;

struct Turn {
  const float* inverse_frequencies = nullptr;  // [P]
  uint32_t num_pairs = 0;                      // P; 0: keys carry no positions
  bool interleaved = false;
};

// table: [count, P], of the positions first_position ..; the last one below 2^24. Angles are
// float32 products, as in transformers: what is undone was done with those.
void make_turn_table(const Turn& turn, uint64_t first_position, uint32_t count,
                     CosSin* table) noexcept;

// row: [N, H] of one token, changed in place; table: [P], its part.
void turn_back(const Turn& turn, const CosSin* table, uint32_t num_kv_heads, uint32_t head_dim,
               float* row) noexcept;

}  // namespace kvalign
