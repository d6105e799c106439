// What a report of the FP8 kernels says, on the host; the kernels' own test is in tests/gpu, and
// the arithmetic that they share with the host is tested in tests/format.
#include "kvalign/ops/fp8_codec_cuda.h"

#include <gtest/gtest.h>

namespace kvalign::cuda {
namespace {

constexpr auto kNone = Fp8Report::kNone;

TEST(Fp8Report, CountsWhereNothingIsRefused) {
  const Fp8Result result =
      result_of({.bad_scale = kNone, .not_finite = kNone, .saturated = 3, .flushed = 5});
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(result.saturated, 3u);
  EXPECT_EQ(result.flushed, 5u);
}

// As the scalar codec, which looks at scales first and counts nothing of what it refuses.
TEST(Fp8Report, NamesTheFirstOffender) {
  const Fp8Result value =
      result_of({.bad_scale = kNone, .not_finite = 7, .saturated = 3, .flushed = 5});
  EXPECT_EQ(value.status, Fp8Status::kNotFinite);
  EXPECT_EQ(value.index, 7u);
  EXPECT_EQ(value.saturated + value.flushed, 0u);
  const Fp8Result scale =
      result_of({.bad_scale = 9, .not_finite = 7, .saturated = 3, .flushed = 5});
  EXPECT_EQ(scale.status, Fp8Status::kBadScale);
  EXPECT_EQ(scale.index, 9u);
}

}  // namespace
}  // namespace kvalign::cuda
