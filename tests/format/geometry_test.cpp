// KvGeometry is a value: its width, and what makes two of them equal.
#include "kvalign/format/geometry.h"

#include <gtest/gtest.h>

namespace kvalign {
namespace {

TEST(KvGeometry, WidthIsOneTokenOfOneStream) {
  KvGeometry geometry;
  geometry.num_kv_heads = 2;
  geometry.head_dim = 64;
  EXPECT_EQ(geometry.width(), 128);
}

TEST(KvGeometry, DiffersWithTheRotation) {
  KvGeometry left;
  left.rope = RopeOptions{};
  KvGeometry right = left;
  EXPECT_EQ(left, right);
  right.rope->pairing = RopePairing::kInterleaved;
  EXPECT_NE(left, right);
  right.rope.reset();
  EXPECT_NE(left, right);
}

}  // namespace
}  // namespace kvalign
