// See guard.h.
#include "guard.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <sstream>

#include "kvalign/format/fp8.h"
#include "served_tensors.h"

namespace kvalign {
namespace {

// A parameter of the request that names what its sender is, against what the dataset says.
std::optional<GuardFinding> compare_parameter(const ServeRequest& request, const char* parameter,
                                              const std::optional<DatasetIndex>& dataset,
                                              std::string DatasetSide::*member, const char* label) {
  const auto found = request.parameters.find(parameter);
  if (found == request.parameters.end()) return std::nullopt;
  if (!found->is_string()) {
    refuse_request(request, std::string("parameter ") + parameter + ": expected a string, got " +
                                found->dump());
  }
  if (!dataset) {
    refuse_request(request, std::string("parameter ") + parameter +
                                ": expected a model whose dataset is known, to compare it with. "
                                "Name the dataset in the service's options, or leave it out");
  }
  const std::string& expected = dataset->sender.*member;
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
GuardFinding check_norms(const at::Tensor& norm_T, const ServedModel& model,
                         const GuardOptions& options) {
  const std::span<const float> norms(norm_T.const_data_ptr<float>(),
                                     static_cast<size_t>(norm_T.numel()));
  const auto bad =
      std::find_if(norms.begin(), norms.end(), [](float norm) { return !std::isfinite(norm); });
  if (bad != norms.end()) {
    return fall_back("not_finite", "expected finite numbers, got NaN or infinity at token ",
                     bad - norms.begin());
  }
  const auto largest = std::max_element(norms.begin(), norms.end());
  const double unit = model.statistics ? model.statistics->largest_token_rms : 1;
  const double limit = model.statistics ? options.max_norm : options.max_raw_norm;
  if (limit == 0 || *largest / unit <= limit) return {};
  return fall_back("norm", "expected tokens of norm at most ", limit,
                   model.statistics ? " times the largest in training, got " : ", got ",
                   *largest / unit, " at token ", largest - norms.begin());
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
  if (const auto finding = compare_parameter(request, "tokenizer_sha256", model.dataset,
                                             &DatasetSide::tokenizer_sha256, "tokenizer")) {
    return *finding;
  }
  if (const auto finding = compare_parameter(request, "sender_revision", model.dataset,
                                             &DatasetSide::revision, "revision")) {
    return *finding;
  }
  if (input.finding) return *input.finding;
  if (input.codes) {
    if (const auto finding = check_saturation(*input.codes, options, record)) return *finding;
  }
  const at::Tensor norm_T = model.statistics ? token_rms(*model.statistics, input.rows_TF)
                                             : at::linalg_vector_norm(input.rows_TF, 2, {1});
  const GuardFinding finding = check_norms(norm_T, model, options);
  if (model.statistics && finding.label != "not_finite") record.drift_score = drift_score(norm_T);
  return finding;
}

}  // namespace kvalign
