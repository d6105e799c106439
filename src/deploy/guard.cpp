// See guard.h.
#include "guard.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <sstream>

#include "kvalign/format/fp8.h"
#include "served_tensors.h"

namespace kvalign {
namespace {

// A parameter of the request that names what its sender is, against what the dataset says.
std::optional<GuardFinding> compare_parameter(const ServeRequest& request, const char* parameter,
                                              const std::string& expected, const char* label) {
  const auto found = request.parameters.find(parameter);
  if (found == request.parameters.end()) return std::nullopt;
  if (!found->is_string()) {
    refuse_request(request, std::string("parameter ") + parameter + ": expected a string, got " +
                                found->dump());
  }
  if (*found == expected) return std::nullopt;
  return GuardFinding{
      CacheOutcome::kUnsupported, label,
      std::string("expected ") + parameter + " " + expected + ", got " + found->get<std::string>()};
}

template <class... Parts>
GuardFinding fall_back(const char* label, const Parts&... parts) {
  std::ostringstream reason;
  (reason << ... << parts);
  return {CacheOutcome::kFallbackReprefill, label, reason.str()};
}

std::optional<GuardFinding> check_saturation(const ReceivedCodes& codes,
                                             const GuardOptions& options, RequestRecord& record) {
  record.elements = codes.codes_MTW.numel();
  record.saturated = num_saturated(codes);
  const double share = static_cast<double>(record.saturated) / static_cast<double>(record.elements);
  if (share <= options.max_saturated) return std::nullopt;
  return fall_back("saturated", "expected at most ", 100 * options.max_saturated,
                   " % saturated codes, got ", 100 * share, " %");
}

// norm_T: of a token's standardised numbers where there are statistics, else of those themselves.
std::optional<GuardFinding> check_norms(const at::Tensor& norm_T, const ServedModel& model,
                                        const GuardOptions& options) {
  const auto [largest, token] = norm_T.max(0);
  const double unit = model.statistics ? model.statistics->largest_token_rms : 1;
  const double limit = model.statistics ? options.max_norm : options.max_raw_norm;
  const double norm = largest.item<double>() / unit;
  if (limit == 0 || norm <= limit) return std::nullopt;
  return fall_back("norm", "expected tokens of norm at most ", limit,
                   model.statistics ? " times the largest in training, got " : ", got ", norm,
                   " at token ", token.item<int64_t>());
}

}  // namespace

int64_t num_saturated(const ReceivedCodes& codes) {
  const uint8_t largest = fp8_largest_code(codes.wire.format);
  const auto* data = codes.codes_MTW.const_data_ptr<uint8_t>();
  const int64_t count = std::count_if(data, data + codes.codes_MTW.numel(),
                                      [&](uint8_t code) { return (code & 0x7F) == largest; });
  const bool own_scales = codes.origin == ScaleOrigin::kOwnAmax;
  return own_scales ? std::max<int64_t>(0, count - codes.scales_MX.numel()) : count;
}

GuardFinding inspect(const ServeRequest& request, const RequestInput& input,
                     const ServedModel& model, const GuardOptions& options, RequestRecord& record) {
  if (model.dataset) {
    const DatasetSide& sender = model.dataset->sender;
    if (const auto finding =
            compare_parameter(request, "tokenizer_sha256", sender.tokenizer_sha256, "tokenizer")) {
      return *finding;
    }
    if (const auto finding =
            compare_parameter(request, "sender_revision", sender.revision, "revision")) {
      return *finding;
    }
  }
  if (input.finding) return *input.finding;
  if (input.codes) {
    if (const auto finding = check_saturation(*input.codes, options, record)) return *finding;
  }
  const at::Tensor norm_T = model.statistics ? token_rms(*model.statistics, input.rows_TF)
                                             : at::linalg_vector_norm(input.rows_TF, 2, {1});
  if (!norm_T.isfinite().all().item<bool>()) {
    const int64_t token = norm_T.isfinite().logical_not().nonzero()[0].item<int64_t>();
    return fall_back("not_finite", "expected finite numbers, got NaN or infinity at token ", token);
  }
  if (model.statistics) record.drift_score = drift_score(norm_T);
  return check_norms(norm_T, model, options).value_or(GuardFinding{});
}

}  // namespace kvalign
