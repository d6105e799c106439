// The metric against what a small error really does to the attention output: finite differences in
// float64 over an attention written out once more.
#include "kvalign/train/attention_metric.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "kvalign/ops/rope.h"
#include "tests/support/decoder_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

constexpr int64_t kTokens = 11, kSkip = 3;

// One layer of a decoder over one text, in float64.
struct Layer {
  at::Tensor queries_QTH, keys_NTH, values_NTH, weight_EQH;
  RopeOptions rope;
  int64_t window;

  // What attention adds to the residual stream: [T, E].
  at::Tensor output(const at::Tensor& keys, const at::Tensor& values) const {
    const at::Tensor rotated =
        apply_rope(keys.unsqueeze(0), at::arange(kTokens, at::kLong), rope).squeeze(0);
    const int64_t group = queries_QTH.size(0) / keys.size(0);
    at::Tensor result = at::zeros({kTokens, weight_EQH.size(0)}, at::kDouble);
    for (int64_t query = 0; query < queries_QTH.size(0); ++query) {
      const int64_t head = query / group;
      const at::Tensor logits =
          queries_QTH[query].mm(rotated[head].t()) / std::sqrt(static_cast<double>(keys.size(2)));
      const at::Tensor all = at::ones({kTokens, kTokens}, at::kBool);
      const at::Tensor hidden = all.triu(1).logical_or(all.tril(-window));
      const at::Tensor attention = logits.masked_fill(hidden, -INFINITY).softmax(1);
      result += attention.mm(values[head]).mm(weight_EQH.select(1, query).t());
    }
    return result;
  }
};

TEST(AttentionMetric, IsTheChangeOfTheAttentionOutput) {
  for (const char* family : {"llama_bias", "qwen2", "qwen3"}) {
    const Decoder decoder = Decoder::load(golden_decoder(family));
    const at::Tensor tokens = at::arange(5, 5 + kTokens, at::kLong);
    AttentionMetric metric(decoder, kSkip);
    metric.add(tokens);
    const at::Tensor metric_RNHH = metric.finish();
    const DecoderOutput output = decoder.forward(
        {.token_ids_BT = tokens.unsqueeze(0), .num_logits = 0, .with_attention = true});
    const KvGeometry& geometry = decoder.geometry();
    for (int64_t number = 0; number < geometry.num_layers; ++number) {
      const auto i = static_cast<size_t>(number);
      const Layer layer{output.queries_BQTH[i][0].to(at::kDouble),
                        output.cache->keys(number)[0].to(at::kDouble),
                        output.cache->values(number)[0].to(at::kDouble),
                        decoder.attention_output_weight(number)
                            .to(at::kDouble)
                            .unflatten(1, {-1, geometry.head_dim}),
                        *geometry.rope,
                        std::count(geometry.sliding_window_layers.begin(),
                                   geometry.sliding_window_layers.end(), number) > 0
                            ? geometry.sliding_window
                            : kTokens};
      const at::Tensor before = layer.output(layer.keys_NTH, layer.values_NTH);
      const at::Tensor whole = output.attention_BTE[i][0].to(at::kDouble);
      // What is left is the bias of the output projection, the same for all tokens.
      EXPECT_LT((whole - before).std(0, false).max().item<double>(), 1e-4);
      const double scale =
          whole.narrow(0, kSkip, kTokens - kSkip).square().sum(1).mean().item<double>();
      for (int64_t head = 0; head < geometry.num_kv_heads; ++head) {
        const at::Tensor error_H = at::sin(at::arange(geometry.head_dim, at::kDouble) + 1.0 * head);
        for (const bool is_key : {true, false}) {
          double expected = 0;
          int64_t count = 0;
          for (int64_t token = kSkip; token < kTokens; token += 4, ++count) {
            constexpr double kStep = 1e-5;
            at::Tensor keys = layer.keys_NTH.clone(), values = layer.values_NTH.clone();
            (is_key ? keys : values)[head][token] += kStep * error_H;
            expected +=
                ((layer.output(keys, values) - before) / kStep).square().sum().item<double>();
          }
          expected /= static_cast<double>(count) * scale;
          const at::Tensor form_HH =
              metric_RNHH[is_key ? number : geometry.num_layers + number][head];
          const double got = error_H.dot(form_HH.mv(error_H)).item<double>();
          // Keys of grouped heads: the metric adds what the heads do one by one.
          const bool exact = !is_key || geometry.num_kv_heads == layer.queries_QTH.size(0);
          EXPECT_NEAR(got, expected, (exact ? 0.01 : 0.7) * expected) << family << number << is_key;
        }
      }
    }
  }
}

TEST(AttentionMetric, SaysWhatItExpects) {
  const Decoder decoder = Decoder::load(golden_decoder("qwen2"));
  AttentionMetric metric(decoder, 4);
  EXPECT_THROWS_WITH(metric.add(at::arange(4, at::kLong)), "expected more than 4 tokens, got 4");
  EXPECT_THROWS_WITH(metric.finish(), "at least one text");
  EXPECT_THROWS_WITH(decoder.attention_output_weight(99), "expected a layer of 0 ..");
}

}  // namespace
}  // namespace kvalign
