// float32 to bfloat16 and float16 against LibTorch's own casts.
#include "kvalign/format/half.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <gtest/gtest.h>

namespace kvalign {
namespace {

void expect_casts_of(uint32_t bits) {
  const float value = float_of_bits(bits);
  if (value != value) return;  // no NaN comes from finite codes and scales
  Bfloat16 bfloat16;
  Float16 float16;
  narrow_float(value, bfloat16);
  narrow_float(value, float16);
  ASSERT_EQ(bfloat16.bits, c10::BFloat16(value).x) << value;
  ASSERT_EQ(float16.bits, c10::Half(value).x) << value;
}

// Every upper half, with lower halves around the ties of both formats: below bit 16 for bfloat16,
// below bit 13 and, among float16's subnormals, below higher ones.
TEST(Half, RoundsAsLibTorchCasts) {
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const uint32_t lower : {0u, 1u, 0xFFFu, 0x1000u, 0x1001u, 0x2FFFu, 0x3000u, 0x3001u,
                                 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      expect_casts_of(upper << 16 | lower);
    }
  }
}

TEST(Half, LeavesFloatsAlone) {
  float same = 0;
  narrow_float(0x1.234568p-3f, same);
  EXPECT_EQ(same, 0x1.234568p-3f);
}

}  // namespace
}  // namespace kvalign
