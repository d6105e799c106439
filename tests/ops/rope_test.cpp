// RoPE against transformers' own rotation (tests/golden/rope.safetensors, made by make_rope.py) and
// against a reference in double written here; applying and removing undo each other.
//
// Shapes: B batch, N kv heads, T tokens, H head dim
#include "kvalign/ops/rope.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>

#include "kvalign/core/random.h"
#include "kvalign/core/safetensors.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

RopeScaling llama3_scaling() {
  return {.type = RopeScalingType::kLlama3,
          .factor = 8,
          .low_freq_factor = 1,
          .high_freq_factor = 4,
          .original_max_position_embeddings = 8192};
}

RopeOptions options_of(const nlohmann::json& golden) {
  RopeOptions rope{
      .theta = golden["theta"],
      .pairing = golden["pairing"] == "half" ? RopePairing::kHalf : RopePairing::kInterleaved,
      .rotary_dim = golden["rotary_dim"]};
  const nlohmann::json& scaling = golden["scaling"];
  if (scaling["type"] == "linear") {
    rope.scaling = {.type = RopeScalingType::kLinear, .factor = scaling["factor"]};
  } else if (scaling["type"] == "llama3") {
    rope.scaling = {
        .type = RopeScalingType::kLlama3,
        .factor = scaling["factor"],
        .low_freq_factor = scaling["low_freq_factor"],
        .high_freq_factor = scaling["high_freq_factor"],
        .original_max_position_embeddings = scaling["original_max_position_embeddings"]};
  }
  return rope;
}

/// Radians a token of pair `pair`, in double, straight from the published formulas.
double reference_frequency(const RopeOptions& rope, int64_t pair) {
  const double frequency =
      std::pow(rope.theta, -2.0 * static_cast<double>(pair) / static_cast<double>(rope.rotary_dim));
  const RopeScaling& scaling = rope.scaling;
  if (scaling.type == RopeScalingType::kDefault) return frequency;
  if (scaling.type == RopeScalingType::kLinear) return frequency / scaling.factor;
  const double turns = static_cast<double>(scaling.original_max_position_embeddings) * frequency /
                       (2 * std::numbers::pi);
  if (turns < scaling.low_freq_factor) return frequency / scaling.factor;
  if (turns > scaling.high_freq_factor) return frequency;
  const double smooth =
      (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

at::Tensor reference_rope(const at::Tensor& keys_BNTH, const at::Tensor& positions_T,
                          const RopeOptions& rope) {
  const at::Tensor keys = keys_BNTH.to(at::kDouble).contiguous();
  at::Tensor rotated = keys.clone();
  for (int64_t b = 0; b < keys.size(0); ++b)
    for (int64_t n = 0; n < keys.size(1); ++n)
      for (int64_t t = 0; t < keys.size(2); ++t)
        for (int64_t pair = 0; pair < rope.rotary_dim / 2; ++pair) {
          const bool half = rope.pairing == RopePairing::kHalf;
          const int64_t first = half ? pair : 2 * pair;
          const int64_t second = half ? pair + rope.rotary_dim / 2 : 2 * pair + 1;
          const double angle =
              reference_frequency(rope, pair) * static_cast<double>(positions_T[t].item<int64_t>());
          const double x = keys[b][n][t][first].item<double>();
          const double y = keys[b][n][t][second].item<double>();
          rotated[b][n][t][first] = x * std::cos(angle) - y * std::sin(angle);
          rotated[b][n][t][second] = y * std::cos(angle) + x * std::sin(angle);
        }
  return rotated;
}

at::Tensor random_keys(at::IntArrayRef sizes, at::ScalarType dtype = at::kFloat) {
  return at::randn(sizes, make_generator(7), at::TensorOptions(at::kDouble)).to(dtype);
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

TEST(Rope, EqualsTransformers) {
  const std::string path = KVALIGN_SOURCE_DIR "/tests/golden/rope.safetensors";
  const SafetensorsFile golden = SafetensorsFile::open(path);
  const nlohmann::json cases = nlohmann::json::parse(golden.metadata().at("cases"));
  ASSERT_GE(cases.size(), 8u);
  for (const nlohmann::json& one : cases) {
    const std::string name = one["name"];
    SCOPED_TRACE(name);
    const RopeOptions rope = options_of(one);
    const at::Tensor keys_BNTH = golden.tensor(name + ".keys").transpose(0, 1).unsqueeze(0);
    const at::Tensor rotated_BNTH = golden.tensor(name + ".rotated").transpose(0, 1).unsqueeze(0);
    const at::Tensor positions_T = golden.tensor(name + ".positions");
    // The arithmetic is the same but for float32's power function, whose last bit differs between
    // processors: an angle of p radians may be off by p * 2^-24, at most 4095 * 6e-8 = 2.4e-4 here.
    const int64_t last = positions_T.size(0) - 1;
    ASSERT_EQ(positions_T[last].item<int64_t>(), 4095);
    const auto difference = [&](const at::Tensor& a, const at::Tensor& b, bool with_last) {
      const int64_t count = with_last ? last + 1 : last;
      return largest_difference(a.narrow(2, 0, count), b.narrow(2, 0, count));
    };
    const at::Tensor applied = apply_rope(keys_BNTH, positions_T, rope);
    const at::Tensor removed = remove_rope(rotated_BNTH, positions_T, rope);
    EXPECT_LE(difference(applied, rotated_BNTH, false), 255 * 6e-8 * 4);
    EXPECT_LE(difference(applied, rotated_BNTH, true), 4095 * 6e-8 * 4);
    EXPECT_LE(difference(removed, keys_BNTH, false), 255 * 6e-8 * 4);
    EXPECT_LE(difference(removed, keys_BNTH, true), 4095 * 6e-8 * 4);
  }
}

TEST(Rope, EqualsReferenceInDouble) {
  for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved})
    for (const RopeScaling& scaling :
         {RopeScaling{}, RopeScaling{.type = RopeScalingType::kLinear, .factor = 4},
          llama3_scaling()})
      for (const int64_t rotary_dim : {2, 6, 16}) {
        const RopeOptions rope{
            .theta = 500000, .pairing = pairing, .rotary_dim = rotary_dim, .scaling = scaling};
        const at::Tensor keys_BNTH = random_keys({2, 3, 5, 16});
        const at::Tensor positions_T = at::tensor({0, 1, 2, 31, 97}, at::kLong);
        // A float32 angle of up to 97 radians is right to 97 * 2^-23; keys are below 5.
        EXPECT_LE(largest_difference(apply_rope(keys_BNTH, positions_T, rope),
                                     reference_rope(keys_BNTH, positions_T, rope)),
                  5 * 97 * std::ldexp(1.0, -23));
      }
}

TEST(Rope, RemoveUndoesApply) {
  for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved})
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}) {
      const RopeOptions rope{.theta = 10000, .pairing = pairing, .rotary_dim = 8};
      const at::Tensor keys_BNTH = random_keys({1, 2, 300, 12}, dtype);
      const at::Tensor positions_T = at::arange(5, 305, at::kLong);
      const at::Tensor rotated_BNTH = apply_rope(keys_BNTH, positions_T, rope);
      const at::Tensor content_BNTH = remove_rope(rotated_BNTH, positions_T, rope);
      EXPECT_EQ(content_BNTH.scalar_type(), dtype);
      // Cosine and sine are float32, so a pair's length is right to 2^-23 or so even in double; two
      // roundings to the keys' dtype come on top. Keys are below 5.
      const double step = dtype == at::kHalf       ? std::ldexp(1.0, -11)
                          : dtype == at::kBFloat16 ? std::ldexp(1.0, -8)
                                                   : std::ldexp(1.0, -23);
      EXPECT_LE(largest_difference(content_BNTH, keys_BNTH), 5 * 3 * step);
      EXPECT_TRUE(at::equal(rotated_BNTH.narrow(3, 8, 4), keys_BNTH.narrow(3, 8, 4)));
    }
}

TEST(Rope, LeavesItsInputAndTakesStridedAndEmptyKeys) {
  const RopeOptions rope{.theta = 10000, .rotary_dim = 4};
  const at::Tensor keys_BTNH = random_keys({1, 3, 2, 4});
  const at::Tensor before = keys_BTNH.clone();
  const at::Tensor positions_T = at::arange(3, at::kLong);
  const at::Tensor strided = apply_rope(keys_BTNH.transpose(1, 2), positions_T, rope);
  EXPECT_TRUE(at::equal(keys_BTNH, before));
  EXPECT_TRUE(
      at::equal(strided, apply_rope(keys_BTNH.transpose(1, 2).contiguous(), positions_T, rope)));
  EXPECT_EQ(apply_rope(at::zeros({1, 2, 0, 4}), at::empty({0}, at::kLong), rope).size(2), 0);
}

TEST(Rope, ChecksItsArguments) {
  const RopeOptions rope{.theta = 10000, .rotary_dim = 4};
  const at::Tensor keys_BNTH = at::zeros({1, 2, 3, 4});
  const at::Tensor positions_T = at::arange(3, at::kLong);
  EXPECT_THROWS_WITH(apply_rope(keys_BNTH[0], positions_T, rope),
                     "apply_rope: expected floating keys [batch, kv heads, tokens, head dim], got "
                     "Float [2, 3, 4]");
  EXPECT_THROWS_WITH(remove_rope(keys_BNTH.to(at::kInt), positions_T, rope), "got Int");
  EXPECT_THROWS_WITH(apply_rope(keys_BNTH, positions_T.narrow(0, 0, 2), rope),
                     "a position for each of 3 tokens, in one row or 1, got 2 positions in 1");
  EXPECT_THROWS_WITH(apply_rope(keys_BNTH, positions_T.to(at::kInt), rope), "got Int [3]");
  EXPECT_THROWS_WITH(apply_rope(keys_BNTH, positions_T.to(at::kMeta), rope),
                     "expected keys and positions on one device, got cpu and meta");
  EXPECT_THROWS_WITH(apply_rope(keys_BNTH, positions_T, {.theta = 10000, .rotary_dim = 6}),
                     "expected rotary_dim up to the head dim 4, got 6");
}

// Rows of a batch may have positions of their own (left padding).
TEST(Rope, TakesPositionsOfEachRow) {
  const RopeOptions rope{.theta = 10000, .rotary_dim = 4};
  const at::Tensor keys_BNTH = at::randn({2, 3, 5, 4});
  const at::Tensor positions_BT =
      at::stack({at::arange(5, at::kLong), at::arange(7, 12, at::kLong)});
  const RopeTable table = make_rope_table(positions_BT, rope);
  const at::Tensor rotated_BNTH = apply_rope(keys_BNTH, table);
  for (int64_t row = 0; row < 2; ++row) {
    EXPECT_TRUE(at::equal(rotated_BNTH.narrow(0, row, 1),
                          apply_rope(keys_BNTH.narrow(0, row, 1), positions_BT[row], rope)));
  }
  EXPECT_TRUE(at::allclose(remove_rope(rotated_BNTH, table), keys_BNTH, 1e-5, 1e-5));
  EXPECT_THROWS_WITH(apply_rope(keys_BNTH.narrow(0, 0, 1), table),
                     "in one row or 1, got 5 positions in 2");
  EXPECT_THROWS_WITH(make_rope_table(positions_BT.unsqueeze(0), rope),
                     "[tokens] or [batch, tokens]");
  EXPECT_THROWS_WITH(make_rope_table({}, rope), "got nothing");
}

TEST(Rope, ChecksItsOptions) {
  EXPECT_THROWS_WITH(rope_inverse_frequencies({.theta = 0, .rotary_dim = 4}),
                     "expected a positive theta, got 0");
  EXPECT_THROWS_WITH(rope_inverse_frequencies({.theta = 1e4, .rotary_dim = 5}),
                     "expected a positive even rotary_dim, got 5");
  EXPECT_THROWS_WITH(rope_inverse_frequencies({.theta = 1e4, .rotary_dim = 0}), "got 0");
  EXPECT_THROWS_WITH(
      rope_inverse_frequencies({.theta = 1e4,
                                .rotary_dim = 4,
                                .scaling = {.type = RopeScalingType::kLinear, .factor = -1}}),
      "expected a positive scaling factor, got -1");
  RopeScaling scaling = llama3_scaling();
  scaling.high_freq_factor = 1;
  EXPECT_THROWS_WITH(rope_inverse_frequencies({.theta = 1e4, .rotary_dim = 4, .scaling = scaling}),
                     "llama3 scaling expected 0 < low_freq_factor < high_freq_factor");
}

TEST(Rope, LayersAtOnceAreThoseOneByOne) {
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf}) {
    for (const at::Tensor& positions :
         {at::arange(3, 8), at::stack({at::arange(5), at::arange(2, 7)})}) {
      const RopeTable table = make_rope_table(positions, {.theta = 1e4, .rotary_dim = 6});
      std::vector<at::Tensor> layers;
      for (uint64_t layer = 0; layer < 3; ++layer) {
        layers.push_back(at::randn({2, 4, 5, 8}, make_generator(layer)).to(dtype));
      }
      const std::vector<at::Tensor> rotated = apply_rope(layers, table);
      ASSERT_EQ(rotated.size(), 3);
      for (size_t layer = 0; layer < 3; ++layer) {
        EXPECT_TRUE(rotated[layer].equal(apply_rope(layers[layer], table))) << dtype;
      }
    }
  }
  EXPECT_TRUE(
      apply_rope(std::vector<at::Tensor>(), make_rope_table(at::arange(3), {.rotary_dim = 6}))
          .empty());
}

}  // namespace
}  // namespace kvalign
