// Names of wires, and caches that cross them one by one.
#include "kvalign/ops/fp8_wire.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/ops/fp8_quantizer.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

TEST(Fp8Wire, NamesAreFormatsWithGranularities) {
  EXPECT_EQ(fp8_wire_names().size(), 10u);
  for (const std::string& name : fp8_wire_names()) {
    const Fp8Wire wire = parse_fp8_wire(name);
    EXPECT_EQ(wire.format == Fp8Format::kE5M2, name.find("e5m2") != std::string::npos);
  }
  const auto granularity = [](const std::string& name) {
    return parse_fp8_wire("float8_e5m2/" + name).granularity;
  };
  EXPECT_EQ(granularity("tensor"), ScaleGranularity::kTensor);
  EXPECT_EQ(granularity("head"), ScaleGranularity::kHead);
  EXPECT_EQ(granularity("token"), ScaleGranularity::kToken);
  EXPECT_EQ(granularity("channel"), ScaleGranularity::kChannel);
  EXPECT_EQ(granularity("block32"), ScaleGranularity::kBlock32);
  EXPECT_THROWS_WITH(parse_fp8_wire("float8_e4m3fn/row"), "float8_e5m2/block32), got");
}

TEST(Fp8Wire, EverySequenceHasScalesOfItsOwn) {
  at::Tensor streams_STD = golden_fill({2, 5, 8}, 3, 1.0);
  streams_STD.narrow(1, 3, 2).mul_(1000);  // the second sequence
  for (const std::string& name : fp8_wire_names()) {
    const Fp8Wire wire = parse_fp8_wire(name);
    const at::Tensor offsets_B = at::tensor({0, 3, 5}, at::kLong);
    const at::Tensor arrived = send_caches(wire, streams_STD, offsets_B, 2);
    const Fp8Quantizer quantizer(wire.format, wire.granularity, 2);
    const at::Tensor first = quantizer.round_trip(streams_STD.narrow(1, 0, 3));
    const at::Tensor second = quantizer.round_trip(streams_STD.narrow(1, 3, 2));
    EXPECT_TRUE(at::equal(arrived, at::cat({first, second}, 1))) << name;
  }
}

TEST(Fp8Wire, BytesAreThoseOfCodesAndScales) {
  // 6 streams of 2 heads of 40, by hand.
  const auto bytes = [](const std::string& name) {
    return fp8_wire_bytes(parse_fp8_wire("float8_e4m3fn/" + name), 6, 80, 2);
  };
  EXPECT_EQ(bytes("tensor").per_token, 6 * 80);
  EXPECT_EQ(bytes("tensor").once, 6 * 4);
  EXPECT_EQ(bytes("head").once, 6 * 2 * 4);
  EXPECT_EQ(bytes("channel").once, 6 * 80 * 4);
  EXPECT_EQ(bytes("token").per_token, 6 * (80 + 4));
  EXPECT_EQ(bytes("token").once, 0);
  EXPECT_EQ(bytes("block32").per_token, 6 * (80 + 3));
  EXPECT_EQ(bytes("block32").once, 0);
}

}  // namespace
}  // namespace kvalign
