// One way to arrive after the other. See request_input.h.
#include "request_input.h"

#include <ATen/ATen.h>

#include <span>

#include "code_certificate.h"
#include "kvalign/core/packet_tensors.h"
#include "kvalign/format/packet_reader.h"
#include "kvalign/ops/fp8_codec.h"
#include "served_tensors.h"

namespace kvalign {
namespace {

void check_num_tokens(const ServeRequest& request, int64_t tokens, int64_t max_tokens) {
  if (tokens <= max_tokens) return;
  throw ServeRefusal(413, "too_large",
                     request.model + ": expected at most " + std::to_string(max_tokens) +
                         " tokens, got " + std::to_string(tokens));
}

std::optional<GuardFinding> find_unsupported(const PacketHeader& header, const ServedModel& model) {
  const auto unsupported = [](const char* label, const std::string& reason) {
    return GuardFinding{CacheOutcome::kUnsupported, label, reason};
  };
  const KvGeometry& sender = model.projector->sender();
  if (header.geometry_id != model.geometry_id) {
    return unsupported("geometry", "expected a packet of the sender " + sender.model +
                                       ", got another geometry_id");
  }
  const bool latent = header.content == PacketContent::kLatent;
  if (latent != model.takes_latents()) {
    return unsupported("content", latent ? "expected a cache, got a latent"
                                         : "expected a latent of this checkpoint, got a cache");
  }
  if (!latent) return std::nullopt;
  if (header.encoder_id != model.checkpoint_id) {
    return unsupported(
        "encoder", "expected a latent of checkpoint " + model.version + ", got another encoder_id");
  }
  if (int64_t{header.rank} > model.num_values()) {
    return unsupported("encoder", "expected a latent of at most " +
                                      std::to_string(model.num_values()) + " numbers, got " +
                                      std::to_string(header.rank));
  }
  return std::nullopt;
}

PacketHeader read_packet_header(const ServeRequest& request, const std::string& bytes) {
  const ByteView whole{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const PacketStatus status = check_packet(whole);
  if (status != PacketStatus::kOk) {
    refuse_request(request, std::string("input packet: ") + packet_status_text(status));
  }
  ByteView rest = whole;
  PacketReader reader;
  reader.open(rest);
  return reader.header();
}

at::Tensor ids_of_packet(const DecodedPacket& packet) {
  std::vector<int64_t> ids(packet.sink_token_ids.begin(), packet.sink_token_ids.end());
  ids.insert(ids.end(), packet.token_ids.begin(), packet.token_ids.end());
  ids.insert(ids.end(), packet.reread_token_ids.begin(), packet.reread_token_ids.end());
  return at::tensor(ids, at::kLong);
}

// A shorter latent is a whole one whose other numbers are 0.
at::Tensor whole_rows(const at::Tensor& values_TMW, int64_t num_values) {
  const at::Tensor rows = values_TMW.flatten(1);
  return rows.size(1) == num_values ? rows
                                    : at::constant_pad_nd(rows, {0, num_values - rows.size(1)});
}

RequestInput read_packet(const ServeRequest& request, const ServedTensor& input,
                         const ServedModel& model, int64_t max_tokens) {
  view_input(request, input, {{"UINT8"}, {-1}});
  const PacketHeader header = read_packet_header(request, input.data);
  check_num_tokens(request, header.num_tokens, max_tokens);
  RequestInput result{.text_tokens = header.num_tokens, .position_offset = header.position_offset};
  if ((result.finding = find_unsupported(header, model))) return result;
  if (header.num_sinks + header.num_reread >= header.num_tokens) {
    refuse_request(request,
                   "input packet: expected tokens that travel as numbers, got sinks and "
                   "re-read tokens alone");
  }
  DecodedPacket packet;
  try {
    packet = decode_packet(input.data);
  } catch (const std::invalid_argument& error) {  // sound as a packet: its numbers are not
    result.finding = GuardFinding{CacheOutcome::kFallbackReprefill, "not_finite", error.what()};
    return result;
  }
  result.rows_TF = whole_rows(packet.values_TMW, model.num_values());
  result.sinks = packet.sink_token_ids;
  result.reread = packet.reread_token_ids;
  if (!packet.token_ids.empty()) result.token_ids = ids_of_packet(packet);
  if (header.element == PacketElement::kE4M3FN || header.element == PacketElement::kE5M2) {
    const PacketCodes codes = packet_codes(input.data);
    result.codes = ReceivedCodes{codes.codes_MTW,
                                 codes.scales_MX,
                                 {.format = codes.format, .granularity = codes.granularity},
                                 origin_of(codes.granularity)};
  }
  return result;
}

RequestInput read_codes(const ServeRequest& request, const ServedTensor& input,
                        const ServedModel& model, int64_t max_tokens) {
  const ServedTensor* scales = find_input(request, "scales");
  if (scales == nullptr) {
    refuse_request(request, "input codes: expected input scales beside it, got none");
  }
  const at::Tensor codes_TF = view_input(request, input, {{"UINT8"}, {-1, model.num_values()}});
  const int64_t tokens = codes_TF.size(0), streams = model.num_streams();
  check_num_tokens(request, tokens, max_tokens);
  const at::Tensor scales_TM = view_input(request, *scales, {{"FP32"}, {tokens, streams}});
  RequestInput result{.rows_TF = at::empty({tokens, model.num_values()}), .text_tokens = tokens};
  // A row of a stream is a token of its own to the codec.
  const Fp8Layout layout{.tokens = static_cast<size_t>(tokens * streams),
                         .num_kv_heads = 1,
                         .head_dim = static_cast<size_t>(model.num_values() / streams),
                         .granularity = ScaleGranularity::kToken,
                         .format = Fp8Format::kE4M3FN};
  const auto span_of = [](const auto* data, const at::Tensor& values) {
    return std::span(data, static_cast<size_t>(values.numel()));
  };
  const Fp8Result decoded = fast::dequantise_fp8(
      layout, span_of(codes_TF.const_data_ptr<uint8_t>(), codes_TF),
      span_of(scales_TM.const_data_ptr<float>(), scales_TM),
      std::span(result.rows_TF.data_ptr<float>(), static_cast<size_t>(codes_TF.numel())));
  if (!decoded.ok()) {
    const bool scale = decoded.status == Fp8Status::kBadScale;
    result.finding =
        GuardFinding{CacheOutcome::kFallbackReprefill, "not_finite",
                     std::string("expected finite numbers, got a ") + (scale ? "scale" : "code") +
                         " that is none at " + std::to_string(decoded.index)};
    result.rows_TF = at::Tensor();
    return result;
  }
  result.codes =
      ReceivedCodes{codes_TF.view({tokens, streams, -1}).transpose(0, 1).contiguous(),
                    scales_TM.transpose(0, 1).contiguous(),
                    {.format = Fp8Format::kE4M3FN, .granularity = ScaleGranularity::kToken},
                    model.takes_latents() ? ScaleOrigin::kEarlier : ScaleOrigin::kOwnAmax};
  return result;
}

RequestInput read_features(const ServeRequest& request, const ServedTensor& input,
                           const ServedModel& model, int64_t max_tokens) {
  const at::Tensor values =
      view_input(request, input, {{"FP32", "FP16", "BF16"}, {-1, model.num_values()}});
  check_num_tokens(request, values.size(0), max_tokens);
  return {.rows_TF = values.to(at::kFloat), .text_tokens = values.size(0)};
}

}  // namespace

RequestInput read_request_input(const ServeRequest& request, const ServedModel& model,
                                int64_t max_tokens) {
  for (const ServedTensor& input : request.inputs) {
    const std::string& name = input.name;
    if (name != "packet" && name != "codes" && name != "scales" && name != "features" &&
        name != "token_ids") {
      refuse_request(request,
                     "expected inputs packet, codes with scales, features and token_ids, "
                     "got \"" +
                         name + "\"");
    }
  }
  const ServedTensor* packet = find_input(request, "packet");
  const ServedTensor* codes = find_input(request, "codes");
  const ServedTensor* features = find_input(request, "features");
  const int ways = (packet != nullptr) + (codes != nullptr) + (features != nullptr);
  if (ways != 1 || (find_input(request, "scales") != nullptr && codes == nullptr)) {
    refuse_request(request,
                   "expected one of the inputs packet, codes with scales, and features, "
                   "got " +
                       std::to_string(ways));
  }
  RequestInput result = packet  ? read_packet(request, *packet, model, max_tokens)
                        : codes ? read_codes(request, *codes, model, max_tokens)
                                : read_features(request, *features, model, max_tokens);
  if (const ServedTensor* ids = find_input(request, "token_ids")) {
    const at::Tensor came = view_input(request, *ids, {{"INT32"}, {-1}});
    if (came.size(0) != result.text_tokens) {
      refuse_request(request, "input token_ids: expected one of each of the " +
                                  std::to_string(result.text_tokens) + " tokens, got " +
                                  std::to_string(came.size(0)));
    }
    result.token_ids = came.to(at::kLong);
  }
  return result;
}

}  // namespace kvalign
