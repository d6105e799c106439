// Codes to half widths, and features from both. See sent_tokens.h.
#include "sent_tokens.h"

#include <ATen/ATen.h>

#include <cmath>

#include "kvalign/ops/fp8_half_widths.h"

namespace kvalign {
namespace {

constexpr const char* kCertifiedLatentWire = "float8_e4m3fn";
at::Tensor token_norms(const at::Tensor& values_XTY) {
  return at::linalg_vector_norm(values_XTY.to(at::kDouble), 2, {0, 2});
}

// Fills in what is said of whole tokens, of all that is sent for them.
void describe_tokens(SentTokens& sent, const at::Tensor& exact, const at::Tensor& decoded,
                     const at::Tensor& half_widths) {
  const at::Tensor norm_T = token_norms(decoded);
  const at::Tensor error = exact.to(at::kDouble) - decoded.to(at::kDouble);
  // Zeros that arrive as zeros have moved by nothing.
  const auto relative = [&](const at::Tensor& move_T) {
    return at::where(move_T == 0, 0.0, move_T / norm_T);
  };
  sent.measured_T = relative(token_norms(error));
  sent.certified_T = relative(token_norms(half_widths));
  sent.num_violations = error.abs().le(half_widths).logical_not().sum().item<int64_t>();
  // rms_model_of_codes of each token.
  sent.model_T = sent.certified_T / std::sqrt(3.0);
}

SentTokens send_latents(const Row& row, const at::Tensor& sender_STd) {
  const at::NoGradGuard no_gradients;
  const auto weights = row.projector->projector().named_parameters();
  const auto weight = [&](const char* name) { return weights[name][0].to(at::kCPU); };
  const at::Tensor features_TF = row.projector->plan().gather(sender_STd)[0];
  SentTokens sent;
  sent.exact_GTF =
      at::linear(features_TF, weight("encoder.weight"), weight("encoder.bias")).unsqueeze(0);
  const at::Tensor codes_1TF = latent_codes(sent.exact_GTF);
  sent.decoded_GTF = codes_1TF.to(at::kFloat) * kLatentScale;
  const Fp8HalfWidths widths =
      fp8_half_widths(codes_1TF.view(at::kByte), at::full({1, 1, 1, 1}, kLatentScale, at::kFloat),
                      {.format = Fp8Format::kE4M3FN, .granularity = ScaleGranularity::kTensor}, 1,
                      ScaleOrigin::kEarlier);
  sent.half_widths_GTF = widths.half_widths_STD;
  sent.num_unbounded = widths.num_unbounded;
  describe_tokens(sent, sent.exact_GTF, sent.decoded_GTF, sent.half_widths_GTF);
  return sent;
}

SentTokens send_streams(const Row& row, const Fp8Wire& wire, const at::Tensor& sender_STd) {
  const int64_t num_kv_heads = row.projector->sender().num_kv_heads;
  const Fp8Quantizer quantizer(wire.format, wire.granularity, num_kv_heads);
  const Fp8Streams codes = quantizer.quantise(sender_STd);
  const at::Tensor decoded_STd = quantizer.dequantise(codes);
  const Fp8HalfWidths widths =
      fp8_half_widths(codes.codes_STD, codes.scales, wire, num_kv_heads, ScaleOrigin::kOwnAmax);
  const FeaturePlan& plan = row.projector->plan();
  SentTokens sent{.exact_GTF = plan.gather(sender_STd),
                  .decoded_GTF = plan.gather(decoded_STd),
                  .half_widths_GTF = plan.gather(widths.half_widths_STD),
                  .num_unbounded = widths.num_unbounded,
                  .num_violations = 0,
                  .measured_T = {},
                  .certified_T = {},
                  .model_T = {}};
  describe_tokens(sent, sender_STd, decoded_STd, widths.half_widths_STD);
  return sent;
}

}  // namespace

std::string why_uncertified(const Row& row) {
  if (!row.projector) return "it reads nothing that is sent";
  const ProjectorOptions& options = row.projector->projector().options();
  if (options.kind == "low_rank" && options.latent_wire != kCertifiedLatentWire) {
    return "its latent is sent as " + options.latent_wire + ", not in FP8";
  }
  return "";
}

SentTokens send_tokens(const Row& row, const Fp8Wire& wire, const at::Tensor& sender_STd) {
  if (row.projector->latent_bytes() > 0) return send_latents(row, sender_STd);
  return send_streams(row, row.fp8_wire.value_or(wire), sender_STd);
}

SentTokens select_tokens(const SentTokens& sent, const at::Tensor& places) {
  return {.exact_GTF = sent.exact_GTF.index_select(1, places),
          .decoded_GTF = sent.decoded_GTF.index_select(1, places),
          .half_widths_GTF = sent.half_widths_GTF.index_select(1, places),
          .num_unbounded = sent.num_unbounded,
          .num_violations = sent.num_violations,
          .measured_T = sent.measured_T.index_select(0, places),
          .certified_T = sent.certified_T.index_select(0, places),
          .model_T = sent.model_T.index_select(0, places)};
}

SentTokens join_tokens(const std::vector<SentTokens>& parts) {
  const auto join = [&](at::Tensor SentTokens::*member, int64_t dimension) {
    std::vector<at::Tensor> tensors;
    for (const SentTokens& part : parts) tensors.push_back(part.*member);
    return at::cat(tensors, dimension);
  };
  SentTokens joined{.exact_GTF = join(&SentTokens::exact_GTF, 1),
                    .decoded_GTF = join(&SentTokens::decoded_GTF, 1),
                    .half_widths_GTF = join(&SentTokens::half_widths_GTF, 1),
                    .num_unbounded = 0,
                    .num_violations = 0,
                    .measured_T = join(&SentTokens::measured_T, 0),
                    .certified_T = join(&SentTokens::certified_T, 0),
                    .model_T = join(&SentTokens::model_T, 0)};
  for (const SentTokens& part : parts) {
    joined.num_unbounded += part.num_unbounded;
    joined.num_violations += part.num_violations;
  }
  return joined;
}

}  // namespace kvalign
