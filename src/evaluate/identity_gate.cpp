// A model against itself: one pass over everything, and continuing from its own stored cache.
//
// Shapes:  T tokens   V vocabulary   M scores compared of one sequence
#include "kvalign/evaluate/identity_gate.h"

#include <ATen/ATen.h>
#include <c10/util/StringUtil.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kvalign/core/safetensors.h"
#include "kvalign/core/temporary_folder.h"
#include "number_text.h"

namespace kvalign {
namespace {

constexpr double kStorageTolerance = 1e-5;    // float32 storage keeps every bit
constexpr double kAttentionTolerance = 1e-3;  // float32 sums in another order stay far below

// What the comparison of all sequences has found so far.
struct Comparison {
  int64_t num_tokens = 0, changed_top1 = 0;
  double max_difference = 0, allowed = 0;
  std::string deviation;  // of the first sequence that deviates
};

double relative_error(const at::Tensor& expected, const at::Tensor& got) {
  const at::Tensor wide = expected.to(at::kCPU, at::kDouble);
  const double norm = wide.norm().item<double>();
  const double error = (got.to(at::kCPU, at::kDouble) - wide).norm().item<double>();
  if (error == 0) return 0;
  const double ratio = error / norm;
  return std::isfinite(ratio) ? ratio : std::numeric_limits<double>::infinity();
}

at::Tensor as_row(const at::Tensor& tokens_T, const Decoder& decoder) {
  return tokens_T.to(decoder.device()).unsqueeze(0);
}

// The first layer whose attention adds something else to the residual stream for the tokens after
// the cache.
std::string attention_deviation(const Decoder& decoder, const at::Tensor& tokens_1T,
                                const KvCache& cache) {
  const int64_t cached = cache.num_tokens();
  const int64_t consumed = tokens_1T.size(1) - cached;
  const DecoderOutput whole = decoder.forward(
      {.token_ids_BT = tokens_1T, .num_logits = 0, .with_cache = false, .with_attention = true});
  const DecoderOutput continued =
      decoder.forward({.token_ids_BT = tokens_1T.narrow(1, cached, consumed),
                       .cache = cache,
                       .num_logits = 0,
                       .with_cache = false,
                       .with_attention = true});
  for (size_t layer = 0; layer < whole.attention_BTE.size(); ++layer) {
    const double error = relative_error(whole.attention_BTE[layer].narrow(1, cached, consumed),
                                        continued.attention_BTE[layer]);
    if (error > kAttentionTolerance) {
      return c10::str("the attention output of layer ", layer, " (relative error ",
                      format_short(error), "), although the cache is what was stored");
    }
  }
  return "the logits alone";
}

std::string describe_deviation(const Decoder& decoder, const at::Tensor& tokens_1T,
                               const KvCache& own, const KvCache& injected) {
  if (injected.num_tokens() != own.num_tokens()) {
    return c10::str("the number of cached tokens, ", injected.num_tokens(), " instead of ",
                    own.num_tokens());
  }
  if (const auto found = first_deviation(own, injected, kStorageTolerance)) return found->text();
  return attention_deviation(decoder, tokens_1T, injected);
}

void compare_sequence(const Decoder& decoder, const at::Tensor& tokens_T,
                      const IdentityGateOptions& options, Comparison& comparison) {
  const at::Tensor tokens_1T = as_row(tokens_T, decoder);
  const int64_t num_cached = tokens_T.size(0) / 2 - 1;
  const int64_t num_scores = tokens_T.size(0) - num_cached;
  const KvCache own =
      *decoder.forward({.token_ids_BT = tokens_1T.narrow(1, 0, num_cached), .num_logits = 0}).cache;
  const KvCache injected = options.transport(own);
  const at::Tensor expected_MV =
      decoder.forward({.token_ids_BT = tokens_1T, .num_logits = num_scores, .with_cache = false})
          .logits_BTV[0];
  const at::Tensor got_MV =
      decoder
          .forward({.token_ids_BT = tokens_1T.narrow(1, num_cached, num_scores),
                    .cache = injected,
                    .with_cache = false})
          .logits_BTV[0];
  double difference = (got_MV - expected_MV).abs().max().item<double>();
  if (std::isnan(difference)) difference = std::numeric_limits<double>::infinity();
  const int64_t changed = (got_MV.argmax(1) != expected_MV.argmax(1)).sum().item<int64_t>();
  comparison.num_tokens += num_scores;
  comparison.changed_top1 += changed;
  comparison.max_difference = std::max(comparison.max_difference, difference);
  const double allowed =
      options.max_difference * std::max(1.0, expected_MV.abs().max().item<double>() / 10);
  comparison.allowed = std::max(comparison.allowed, allowed);
  if (comparison.deviation.empty() && (difference > allowed || changed > 0)) {
    comparison.deviation = describe_deviation(decoder, tokens_1T, own, injected);
  }
}

void check_alike(const KvCache& expected, const KvCache& got) {
  TORCH_CHECK(expected.keys(0).sizes() == got.keys(0).sizes() &&
                  expected.geometry().num_layers == got.geometry().num_layers,
              "expected a cache of ", expected.geometry().num_layers, " layers with keys of ",
              expected.keys(0).sizes(), " to compare with, got ", got.geometry().num_layers,
              " layers with ", got.keys(0).sizes(), ".");
}

void check_sequences(const std::vector<at::Tensor>& sequences_T) {
  TORCH_CHECK(!sequences_T.empty(), "check_own_cache: expected token sequences, got none.");
  for (const at::Tensor& tokens_T : sequences_T) {
    TORCH_CHECK(tokens_T.dim() == 1 && tokens_T.size(0) >= 4,
                "check_own_cache: expected at least 4 tokens a sequence, got shape ",
                tokens_T.sizes(), ".");
  }
}

}  // namespace

KvCache transport_by_file(const KvCache& cache) {
  // The tensors keep the mapping alive, and a mapping outlives its name.
  const TemporaryFolder folder;
  const std::string path = folder.file("cache.safetensors");
  std::vector<NamedTensor> tensors;
  const int64_t num_layers = cache.geometry().num_layers;
  for (int64_t layer = 0; layer < num_layers; ++layer) {
    tensors.push_back({"keys." + std::to_string(layer), cache.keys(layer).to(at::kFloat)});
    tensors.push_back({"values." + std::to_string(layer), cache.values(layer).to(at::kFloat)});
  }
  std::vector<at::Tensor> keys, values;
  write_safetensors(path, tensors);
  const SafetensorsFile file = SafetensorsFile::open(path);
  for (int64_t layer = 0; layer < num_layers; ++layer) {
    const at::Device device = cache.keys(layer).device();
    keys.push_back(file.tensor("keys." + std::to_string(layer)).to(device));
    values.push_back(file.tensor("values." + std::to_string(layer)).to(device));
  }
  return KvCache(cache.geometry(), std::move(keys), std::move(values));
}

std::string CacheDeviation::text() const {
  return c10::str("the ", what, " of layer ", layer, " (relative error ",
                  format_short(relative_error), ")");
}

std::optional<CacheDeviation> first_deviation(const KvCache& expected, const KvCache& got,
                                              double tolerance) {
  check_alike(expected, got);
  for (int64_t layer = 0; layer < expected.geometry().num_layers; ++layer) {
    const double keys = relative_error(expected.keys(layer), got.keys(layer));
    if (keys > tolerance) return CacheDeviation{layer, "keys", keys};
    const double values = relative_error(expected.values(layer), got.values(layer));
    if (values > tolerance) return CacheDeviation{layer, "values", values};
  }
  return std::nullopt;
}

double largest_relative_error(const KvCache& expected, const KvCache& got) {
  check_alike(expected, got);
  double largest = 0;
  for (int64_t layer = 0; layer < expected.geometry().num_layers; ++layer) {
    largest = std::max({largest, relative_error(expected.keys(layer), got.keys(layer)),
                        relative_error(expected.values(layer), got.values(layer))});
  }
  return largest;
}

GateResult check_own_cache(const Decoder& decoder, const std::vector<at::Tensor>& sequences_T,
                           const IdentityGateOptions& options) {
  check_sequences(sequences_T);
  const at::NoGradGuard no_gradients;
  Comparison comparison;
  for (const at::Tensor& tokens_T : sequences_T) {
    if (comparison.num_tokens >= options.min_tokens) break;
    compare_sequence(decoder, tokens_T, options, comparison);
  }
  GateResult result{.gate = "own cache",
                    .side = options.side,
                    .model = decoder.geometry().model,
                    .passed = comparison.deviation.empty(),
                    .num_tokens = comparison.num_tokens,
                    .max_logit_difference = comparison.max_difference,
                    .changed_top1 = comparison.changed_top1};
  result.why =
      c10::str("continuing from its own stored cache changes the logits of the ", options.side, " ",
               result.model, " by up to ", format_short(result.max_logit_difference),
               " (allowed: ", format_short(comparison.allowed), ") and ", result.changed_top1,
               " of ", result.num_tokens, " most probable tokens");
  if (!result.passed) result.why += "; the first to deviate: " + comparison.deviation;
  return result;
}

}  // namespace kvalign
