// Half widths of tensors: no value is further from what arrives than they say, and nothing is said
// of values that may have been cut off.
#include "kvalign/ops/fp8_half_widths.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/ops/fp8_quantizer.h"
#include "tests/support/golden_fill.h"

namespace kvalign {
namespace {

using testing::golden_fill;

TEST(Fp8HalfWidths, CoverEveryValueOnEveryWire) {
  const at::Tensor values_STD = golden_fill({3, 11, 40}, 7, 90.0);
  for (const std::string& name : fp8_wire_names()) {
    SCOPED_TRACE(name);
    const Fp8Wire wire = parse_fp8_wire(name);
    const Fp8Quantizer quantizer(wire.format, wire.granularity, 2);
    const Fp8Streams sent = quantizer.quantise(values_STD);
    const Fp8HalfWidths widths =
        fp8_half_widths(sent.codes_STD, sent.scales, wire, 2, ScaleOrigin::kOwnAmax);
    const at::Tensor error_STD =
        (values_STD.to(at::kDouble) - quantizer.dequantise(sent).to(at::kDouble)).abs();
    EXPECT_EQ(widths.num_unbounded, 0);
    EXPECT_TRUE(error_STD.le(widths.half_widths_STD).all().item<bool>());
    // Half a gap, not many: the largest error of so many values comes near.
    EXPECT_GT((error_STD / widths.half_widths_STD).max().item<double>(), 0.9);
    EXPECT_FALSE(error_STD.le(widths.half_widths_STD * 0.5).all().item<bool>());
  }
}

TEST(Fp8HalfWidths, SayNothingOfTheLargestCodeOfAnEarlierScale) {
  const Fp8Wire wire = parse_fp8_wire("float8_e4m3fn/tensor");
  const at::Tensor codes_STD = at::tensor({0x7E, 0x10, 0xFE, 0x7D}, at::kByte).view({1, 2, 2});
  const at::Tensor scales = at::full({1, 1}, 0.5f);
  const Fp8HalfWidths earlier = fp8_half_widths(codes_STD, scales, wire, 1, ScaleOrigin::kEarlier);
  EXPECT_EQ(earlier.num_unbounded, 2);
  EXPECT_TRUE(earlier.half_widths_STD.isinf().equal(
      at::tensor({1, 0, 1, 0}).to(at::kBool).view({1, 2, 2})));
  EXPECT_EQ(fp8_half_widths(codes_STD, scales, wire, 1, ScaleOrigin::kOwnAmax).num_unbounded, 0);
}

}  // namespace
}  // namespace kvalign
