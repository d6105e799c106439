// The layouts of the engines, in every type: the same numbers make the same packet.
#include "edge_packet.h"
#include "kvalign/format/half.h"

namespace kvalign::testing {
namespace {

constexpr uint32_t kTokens = 21, kChunk = 6, kSinks = 2;
constexpr kvalign_edge_dtype kDtypes[] = {KVALIGN_EDGE_DTYPE_F32, KVALIGN_EDGE_DTYPE_F16,
                                          KVALIGN_EDGE_DTYPE_BF16};

class EdgeLayout : public ::testing::TestWithParam<kvalign_edge_dtype> {
 protected:
  EdgeLayout() : encoder_(options_for(shape_)), cache_(shape_, kTokens) {
    packet_.num_sinks = kSinks;
    packet_.token_ids = ids_.data();
    expected_ = encode(encoder_, packet_, LaidOutCache(cache_).cache());
  }

  const Shape shape_{2, 3, 10};
  const std::vector<int32_t> ids_ = std::vector<int32_t>(kTokens, 7);
  kvalign_edge_packet packet_ = packet_of(kTokens, kChunk);
  Encoder encoder_;
  TestCache cache_;
  Bytes expected_;
};

TEST_P(EdgeLayout, Transformers) {
  const auto view = kvalign_edge_transformers(nullptr, GetParam(), kTokens, shape_.head_dim);
  EXPECT_EQ(encode(encoder_, packet_, LaidOutCache(cache_, view).cache()), expected_);
}

TEST_P(EdgeLayout, LlamaCpp) {
  const auto view =
      kvalign_edge_llama_cpp(nullptr, GetParam(), shape_.num_kv_heads, shape_.head_dim);
  EXPECT_EQ(view.token_stride, 30);
  EXPECT_EQ(encode(encoder_, packet_, LaidOutCache(cache_, view).cache()), expected_);
}

TEST_P(EdgeLayout, LlamaCppTransposed) {
  const auto view =
      kvalign_edge_llama_cpp_transposed(nullptr, GetParam(), kTokens, shape_.head_dim);
  EXPECT_EQ(view.channel_stride, kTokens);
  EXPECT_EQ(encode(encoder_, packet_, LaidOutCache(cache_, view).cache()), expected_);
}

TEST_P(EdgeLayout, TensorRtLlmHoldsKeysBeforeValues) {
  const auto view = kvalign_edge_transformers(nullptr, GetParam(), kTokens, shape_.head_dim);
  LaidOutCache laid_out(cache_, view);
  std::vector<Bytes> both;
  for (uint32_t layer = 0; layer < 2; ++layer) {
    both.push_back(laid_out.memory[layer]);
    both.back().insert(both.back().end(), laid_out.memory[layer + 2].begin(),
                       laid_out.memory[layer + 2].end());
    for (const int is_values : {0, 1}) {
      laid_out.tensors[layer + 2 * is_values] = kvalign_edge_tensorrt_llm(
          both.back().data(), GetParam(), is_values, shape_.num_kv_heads, kTokens, shape_.head_dim);
    }
  }
  EXPECT_EQ(encode(encoder_, packet_, laid_out.cache()), expected_);
}

TEST_P(EdgeLayout, TensorRtLlmPagedWithBlocksAnywhere) {
  constexpr uint32_t kBlockTokens = 4, kBlocks = 6;  // the last block holds one token
  std::vector<Bytes> blocks;
  std::vector<std::vector<const void*>> tables;
  LaidOutCache laid_out(cache_);
  for (uint32_t stream = 0; stream < shape_.streams(); ++stream) {
    tables.emplace_back();
    for (uint32_t block = 0; block < kBlocks; ++block) {
      TestCache part(shape_, kBlockTokens);
      for (uint32_t token = 0; token < kBlockTokens; ++token) {
        const uint32_t from = std::min(block * kBlockTokens + token, kTokens - 1);
        std::copy_n(&cache_.at(stream, from, 0, 0), shape_.width(), &part.at(stream, token, 0, 0));
      }
      blocks.push_back(part.lay_out(
          stream, kvalign_edge_transformers(nullptr, GetParam(), kBlockTokens, shape_.head_dim)));
      tables.back().push_back(blocks.back().data());
    }
    laid_out.tensors[stream] = kvalign_edge_tensorrt_llm_paged(tables.back().data(), GetParam(),
                                                               kBlockTokens, shape_.head_dim);
  }
  EXPECT_EQ(encode(encoder_, packet_, laid_out.cache()), expected_);
}

TEST_P(EdgeLayout, MemoryNeedsNoAlignment) {
  const auto view = kvalign_edge_transformers(nullptr, GetParam(), kTokens, shape_.head_dim);
  LaidOutCache laid_out(cache_, view);
  for (size_t i = 0; i < laid_out.memory.size(); ++i) {
    laid_out.memory[i].insert(laid_out.memory[i].begin(), 0);
    laid_out.tensors[i].data = laid_out.memory[i].data() + 1;
  }
  EXPECT_EQ(encode(encoder_, packet_, laid_out.cache()), expected_);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, EdgeLayout, ::testing::ValuesIn(kDtypes));

// The compiler's own float16 is the reference.
TEST(EdgeHalf, EveryFloat16IsReadAndWrittenAsTheCompilerDoes) {
  for (uint32_t code = 0; code < 0x10000; ++code) {
    const auto bits = static_cast<uint16_t>(code);
    _Float16 half;
    std::memcpy(&half, &bits, sizeof half);
    const auto expected = static_cast<float>(half);
    const float value = float_of_f16(bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << code;
      continue;
    }
    ASSERT_EQ(bits_of_float(value), bits_of_float(expected)) << code;
    if (std::isfinite(value)) {
      ASSERT_EQ(round_to_f16(bits_of_float(value) & 0x7FFFFFFF), code & 0x7FFF);
    }
  }
}

TEST(EdgeHalf, Float16RoundsAsTheCompilerDoes) {
  for (uint64_t bits = 0; bits < 0x7F800000; bits += 977) {
    const float value = float_of_bits(static_cast<uint32_t>(bits));
    const auto half = static_cast<_Float16>(value);
    uint16_t expected = 0;
    std::memcpy(&expected, &half, sizeof expected);
    const uint32_t code = round_to_f16(static_cast<uint32_t>(bits));
    // One above the largest is the code of Inf.
    ASSERT_EQ(code > 0x7C00 ? 0x7C00 : code, expected) << value;
  }
}

}  // namespace
}  // namespace kvalign::testing
