// See request_certificate.h.
#include "request_certificate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "code_certificate.h"

namespace kvalign {
namespace {

at::Tensor sample_tokens(int64_t tokens, int64_t count) {
  std::vector<int64_t> places;
  for (int64_t i = 0; i < count; ++i) places.push_back(i * tokens / count);
  return at::tensor(places, at::kLong);
}

double largest_relative_bound(const PacketCertificate& certificate) {
  double largest = 0;
  for (const PacketStreamCertificate& stream : certificate.streams) {
    largest = std::max(largest, stream.certified.p50 / stream.output_norm);
  }
  return largest;
}

}  // namespace

nlohmann::json certify_request(const RequestInput& input, const ServedModel& model,
                               const RequestCertificateOptions& options, RequestRecord& record) {
  if (options.of == "off" || !input.codes) return nullptr;
  const ReceivedCodes& codes = *input.codes;
  const int64_t streams = codes.codes_MTW.size(0), width = codes.codes_MTW.size(2);
  const int64_t tokens = input.num_tokens();
  CodedRows rows{.codes_MTW = codes.codes_MTW,
                 .scales_MX = codes.scales_MX,
                 .wire = codes.wire,
                 .origin = codes.origin,
                 .decoded_MTW = input.rows_TF.narrow(1, 0, streams * width)
                                    .view({tokens, streams, width})
                                    .transpose(0, 1),
                 .num_kv_heads = model.takes_latents() ? 1 : model.projector->sender().num_kv_heads,
                 .latent = model.takes_latents()};
  if (options.tokens > 0 && options.tokens < tokens) {
    rows = take_tokens(rows, sample_tokens(tokens, options.tokens));
  }
  rows.decoded_MTW = rows.decoded_MTW.contiguous();
  const PacketCertificate certificate =
      options.of == "wire" ? certify_rows(rows)
                           : certify_rows(rows, model.projector.get(), [&](int64_t stream) {
                               return model.certificates[static_cast<size_t>(stream)];
                             });
  record.certified_wire_error = certificate.relative.p50;
  if (!certificate.streams.empty()) record.certified_error = largest_relative_bound(certificate);
  nlohmann::json json = to_json(certificate);
  json["of_tokens"] = tokens;
  return json;
}

}  // namespace kvalign
