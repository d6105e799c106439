// Windows of common bytes, on cases small enough to see.
#include "kvalign/evaluate/byte_window.h"

#include <gtest/gtest.h>

#include "tests/support/throws.h"

namespace kvalign {
namespace {

TEST(ByteWindow, EqualTokensShareEverything) {
  EXPECT_EQ(common_window({10, 12, 15}, {10, 12, 15}, 64),
            (ByteWindow{.receiver = {0, 2}, .sender = {0, 2}, .bytes = 5}));
}

// receiver |10  14|14  20|20  23|   sender |8  12|12  14|14  17|17  20|20  25|: common 14 .. 20.
TEST(ByteWindow, BeginsAndEndsWhereBothHaveABoundary) {
  EXPECT_EQ(common_window({10, 14, 20, 23}, {8, 12, 14, 17, 20, 25}, 64),
            (ByteWindow{.receiver = {1, 2}, .sender = {2, 4}, .bytes = 6}));
}

TEST(ByteWindow, StopsAtTheLimitOfReceiverTokens) {
  EXPECT_EQ(common_window({0, 2, 4, 6}, {0, 1, 2, 3, 4, 6}, 2),
            (ByteWindow{.receiver = {0, 2}, .sender = {0, 4}, .bytes = 4}));
}

// Two tokens that make up one character end at the same byte; only after both is a boundary.
TEST(ByteWindow, ThereIsNoBoundaryInsideACharacter) {
  EXPECT_EQ(common_window({0, 3, 3, 5}, {0, 3, 5}, 1),
            (ByteWindow{.receiver = {0, 0}, .sender = {0, 0}, .bytes = 0}));
  EXPECT_EQ(common_window({0, 3, 3, 5}, {0, 3, 5}, 2),
            (ByteWindow{.receiver = {0, 2}, .sender = {0, 1}, .bytes = 3}));
}

TEST(ByteWindow, NothingInCommonIsEmpty) {
  EXPECT_EQ(common_window({1, 3, 5}, {2, 4}, 64), ByteWindow{});
  EXPECT_THROWS_WITH(common_window({}, {1}, 64), "got 0 and 1 ends");
}

}  // namespace
}  // namespace kvalign
