// Packed and padded pooling against sums by hand, and against one another.
#include "kvalign/loss/pooling.h"

#include <ATen/ATen.h>

#include <cmath>

#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_double;

TEST(Pooling, PackedEqualsPaddedWithAMask) {
  for (const at::Tensor& offsets :
       {at::tensor({0, 1, 4, 6}, at::kLong), at::tensor({0, 2, 4, 6}, at::kLong),
        at::tensor({0, 6}, at::kLong)}) {
    const int64_t num_sequences = offsets.size(0) - 1;
    const at::Tensor cache_RTD = golden_double({2, 6, 4}, 1);
    // Padding holds NaN: it must never be read.
    at::Tensor padded_BLC = at::full({num_sequences, 6, 8}, NAN, at::kDouble);
    at::Tensor mask_BL = at::zeros({num_sequences, 6}, at::kBool);
    for (int64_t b = 0; b < num_sequences; ++b) {
      const int64_t begin = offsets[b].item<int64_t>();
      const int64_t length = offsets[b + 1].item<int64_t>() - begin;
      padded_BLC[b]
          .narrow(0, 0, length)
          .copy_(cache_RTD.narrow(1, begin, length).transpose(0, 1).flatten(1));
      mask_BL[b].narrow(0, 0, length).fill_(true);
    }
    const at::Tensor packed = mean_pool(cache_RTD, offsets);
    ASSERT_EQ(packed.sizes(), at::IntArrayRef({num_sequences, 8}));
    EXPECT_TRUE(at::allclose(packed, masked_mean_pool(padded_BLC, mask_BL), 1e-12, 1e-15));
  }
}

TEST(Pooling, StreamsFollowOneAnother) {
  const at::Tensor cache_RTD = golden_double({2, 3, 4}, 1);
  const at::Tensor pooled = mean_pool(cache_RTD, at::tensor({0, 1, 3}, at::kLong));
  EXPECT_NEAR(pooled[1][4 + 2].item<double>(),
              (cache_RTD[1][1][2] + cache_RTD[1][2][2]).item<double>() / 2, 1e-15);
}

TEST(Pooling, ErrorsSayWhatToDo) {
  const at::Tensor cache = at::zeros({2, 6, 4});
  EXPECT_THROWS_WITH(mean_pool(cache[0], at::tensor({0, 6}, at::kLong)),
                     "expected a cache [streams, tokens, width], got [6, 4]");
  EXPECT_THROWS_WITH(mean_pool(cache, at::tensor({0, 6}, at::kInt)),
                     "expected sequence_offsets int64 [sequences + 1] on the CPU, got Int");
  EXPECT_THROWS_WITH(mean_pool(cache, at::tensor({0, 5}, at::kLong)),
                     "from 0 to 6 tokens, got 0 to 5");
  EXPECT_THROWS_WITH(mean_pool(cache, at::tensor({0, 3, 3, 6}, at::kLong)),
                     "sequence 1 has 0 tokens");
  EXPECT_THROWS_WITH(masked_mean_pool(cache, at::ones({2, 5}, at::kBool)),
                     "expected a cache [sequences, tokens, width] and a bool mask");
  EXPECT_THROWS_WITH(masked_mean_pool(cache, at::zeros({2, 6}, at::kBool)), "empty row");
}

}  // namespace
}  // namespace kvalign
