// Alignment against a search over all pairs of tokens, and gathering against loops in double.
#include "kvalign/dataset/alignment.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/random.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

at::Tensor ints(std::vector<int32_t> values) {
  return at::tensor(values, at::kInt);
}

TEST(AlignTokens, ExampleByHand) {
  // "unhappily now": sender "un|happ|ily| now", receiver "u|nhappily| n|ow".
  const at::Tensor alignment = align_tokens(ints({2, 6, 9, 13}), ints({1, 9, 11, 13}));
  EXPECT_TRUE(at::equal(alignment, ints({0, 2, 2, 3})));
}

TEST(AlignTokens, TokensWithoutTextAndOfOneCharacter) {
  // Special tokens end where they begin; two tokens of one character both end with it.
  EXPECT_TRUE(at::equal(align_tokens(ints({0, 3}), ints({0, 0, 3})), ints({0, 0, 1})));
  EXPECT_TRUE(at::equal(align_tokens(ints({3, 3, 5}), ints({3, 5})), ints({1, 2})));
  EXPECT_TRUE(at::equal(align_tokens(ints({4}), ints({1, 2, 4})), ints({0, 0, 0})));
}

at::Tensor random_ends(Random& random, int64_t count) {
  at::Tensor ends = at::empty({count}, at::kInt);
  int32_t end = 0;
  for (int64_t i = 0; i < count; ++i) {
    end += static_cast<int32_t>(random.below(4));
    ends[i] = end;
  }
  return ends;
}

// The words of the header, token by token.
int32_t last_that_ended(const at::Tensor& sender_ends, int32_t end) {
  int32_t found = 0;
  for (int64_t i = 0; i < sender_ends.size(0); ++i) {
    if (sender_ends[i].item<int32_t>() <= end) found = static_cast<int32_t>(i);
  }
  return found;
}

TEST(AlignTokens, EqualsASearchOverAllPairs) {
  Random random(3);
  for (const int64_t num_sender : {1, 2, 7, 31}) {
    for (const int64_t num_receiver : {1, 2, 8, 29}) {
      const at::Tensor sender = random_ends(random, num_sender);
      const at::Tensor receiver = random_ends(random, num_receiver);
      const at::Tensor alignment = align_tokens(sender, receiver);
      ASSERT_EQ(alignment.scalar_type(), at::kInt);
      for (int64_t t = 0; t < num_receiver; ++t) {
        ASSERT_EQ(alignment[t].item<int32_t>(),
                  last_that_ended(sender, receiver[t].item<int32_t>()))
            << num_sender << " to " << num_receiver << " tokens, token " << t;
      }
    }
  }
}

TEST(AlignTokens, ChecksItsEnds) {
  EXPECT_THROWS_WITH(align_tokens(ints({1}).to(at::kLong), ints({1})),
                     "expected contiguous int32 sender ends [tokens] on the CPU, got Long [1]");
  EXPECT_THROWS_WITH(align_tokens(ints({1}), ints({})), "expected contiguous int32 receiver ends");
  EXPECT_THROWS_WITH(align_tokens(ints({1}), {}), "on the CPU, got nothing");
  EXPECT_THROWS_WITH(align_tokens(ints({1, 4, 3}), ints({1})),
                     "expected sender ends that never decrease, got 4 and then 3 at token 2");
}

TEST(ReadAligned, LastTakesTheAlignedRow) {
  const at::Tensor streams = at::rand({3, 5, 4});
  const at::Tensor alignment = ints({0, 0, 2, 2, 4, 4});
  const at::Tensor aligned = read_aligned(streams, alignment, AlignmentReading::kLast);
  EXPECT_TRUE(at::equal(aligned, streams.index_select(1, alignment.to(at::kLong))));
}

TEST(ReadAligned, MeanTakesAllRowsSinceTheTokenBefore) {
  const at::Tensor streams = at::rand({2, 7, 3}).to(at::kHalf);
  const at::Tensor aligned = read_aligned(streams, ints({1, 1, 2, 5, 6}), AlignmentReading::kMean);
  const at::Tensor exact = streams.to(at::kDouble);
  const std::vector<std::pair<int64_t, int64_t>> ranges = {{0, 2}, {1, 1}, {2, 1}, {3, 3}, {6, 1}};
  for (size_t t = 0; t < ranges.size(); ++t) {
    const at::Tensor expected = exact.narrow(1, ranges[t].first, ranges[t].second).mean(1);
    const at::Tensor got = aligned.select(1, static_cast<int64_t>(t)).to(at::kDouble);
    // Sums of three values below 1 in float32: three roundings of at most 2^-24 * 3.
    EXPECT_LE((got - expected).abs().max().item<double>(), 9 * std::ldexp(1.0, -24)) << t;
  }
}

TEST(ReadAligned, OneToOneChangesNothing) {
  const at::Tensor streams = at::rand({2, 4, 3});
  for (const char* name : {"last", "mean"}) {
    EXPECT_TRUE(
        at::equal(read_aligned(streams, ints({0, 1, 2, 3}), alignment_reading(name)), streams));
  }
}

TEST(ReadAligned, ChecksItsArguments) {
  const at::Tensor streams = at::rand({2, 4, 3});
  const auto last = AlignmentReading::kLast;
  EXPECT_THROWS_WITH(read_aligned(streams[0], ints({0}), last),
                     "expected floating streams [streams, tokens, width] on the CPU, got Float");
  EXPECT_THROWS_WITH(read_aligned(streams, at::zeros({2}), last),
                     "expected a contiguous int32 alignment");
  EXPECT_THROWS_WITH(read_aligned(streams, ints({0, 4}), last),
                     "expected sender tokens from 0 to 3, got 4 at token 1");
  EXPECT_THROWS_WITH(read_aligned(streams, ints({2, 1}), last),
                     "expected numbers that never decrease, got 2 and then 1 at token 1");
  EXPECT_THROWS_WITH(alignment_reading("first"), "expected \"last\" or \"mean\", got \"first\"");
}

}  // namespace
}  // namespace kvalign
