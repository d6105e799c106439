// From codes and scales to bounds. See packet_certificate.h.
//
// Shapes:  M streams of the packet   T tokens   W their width   G feature groups   F features
//          R receiver streams
#include "kvalign/deploy/packet_certificate.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "kvalign/core/packet_tensors.h"
#include "kvalign/core/sha256.h"
#include "kvalign/dataset/dataset_index.h"
#include "kvalign/evaluate/stream_certificate.h"
#include "kvalign/ops/fp8_half_widths.h"
#include "kvalign/ops/fp8_quantizer.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "packet_sender.h"

namespace kvalign {
namespace {

at::Tensor norms(const at::Tensor& values, at::IntArrayRef dimensions) {
  return at::linalg_vector_norm(values.to(at::kDouble), 2, dimensions);
}

std::vector<PacketStreamCertificate> certify_streams(const KvProjector& projector,
                                                     const at::Tensor& decoded_GTF,
                                                     const at::Tensor& half_widths_GTF) {
  const at::NoGradGuard no_gradients;
  Projector& module = projector.projector();
  const at::Tensor outputs_RTD = projector.latent_bytes() > 0 ? module.project_latent(decoded_GTF)
                                                              : module.forward(decoded_GTF);
  const at::Tensor norm_RT = norms(outputs_RTD, {2});
  const int64_t num_streams = outputs_RTD.size(0);
  const std::vector<std::string> names =
      stream_names(is_flat(projector.receiver()) ? DatasetLayout::kFlat : DatasetLayout::kLayers,
                   projector.receiver());
  std::vector<PacketStreamCertificate> streams;
  for (int64_t stream = 0; stream < num_streams; ++stream) {
    const int64_t group = stream / (num_streams / decoded_GTF.size(0));
    const at::Tensor certified_T = certified_bounds(make_stream_certificate(module, stream),
                                                    decoded_GTF[group], half_widths_GTF[group]);
    streams.push_back(
        {.stream = names[static_cast<size_t>(stream)],
         .output_norm = percentiles_of(to_list(norm_RT[stream])).p50,
         .certified = percentiles_of(to_list(certified_T)),
         .vacuous = certified_T.ge(norm_RT[stream]).to(at::kDouble).mean().item<double>()});
  }
  return streams;
}

// The projector that reads what the packet holds.
KvProjector projector_for(const PacketCodes& packet, const std::string& checkpoint) {
  const KvProjector whole = *load_checkpoint(checkpoint).projector;
  check_packet_sender(packet.header, whole, packet_id(sha256_of_file(checkpoint)));
  const bool latent = packet.header.content == PacketContent::kLatent;
  require_of_packet(
      latent == (whole.latent_bytes() > 0),
      std::string("expected ") +
          (latent ? "a checkpoint with latents, got " : "a checkpoint that reads caches, got ") +
          checkpoint + " of kind " + whole.options().kind);
  if (!latent) return whole;
  require_of_packet(packet.header.rank <= whole.options().rank,
                    "expected a latent of at most " + std::to_string(whole.options().rank) +
                        " numbers, got " + std::to_string(packet.header.rank));
  return whole.with_rank(packet.header.rank);
}

}  // namespace

PacketCertificate certify_packet(std::string_view packet, const std::string& checkpoint) {
  const PacketCodes codes = packet_codes(packet);
  require_of_packet(codes.codes_MTW.size(1) > 0,
                    "expected tokens that travel as numbers, got sinks and re-read tokens alone, "
                    "of which there is nothing to certify");
  const Fp8Wire wire{.format = codes.format, .granularity = codes.granularity};
  const bool latent = codes.header.content == PacketContent::kLatent;
  const int64_t num_kv_heads = latent ? 1 : codes.header.num_kv_heads;
  const bool own = wire.granularity == ScaleGranularity::kToken ||
                   wire.granularity == ScaleGranularity::kBlock32;
  const Fp8HalfWidths widths = fp8_half_widths(codes.codes_MTW, codes.scales_MX, wire, num_kv_heads,
                                               own ? ScaleOrigin::kOwnAmax : ScaleOrigin::kEarlier);
  const at::Tensor decoded_MTW = decode_packet(packet).values_TMW.transpose(0, 1).contiguous();
  const at::Tensor unbounded_T = widths.half_widths_STD.isinf().any(2).any(0);
  PacketCertificate result{.wire = fp8_wire_name(wire),
                           .latent = latent,
                           .tokens = decoded_MTW.size(1),
                           .uncertified = widths.num_unbounded,
                           .uncertified_tokens = unbounded_T.sum().item<int64_t>(),
                           .relative = percentiles_of(to_list(
                               norms(widths.half_widths_STD, {0, 2}) / norms(decoded_MTW, {0, 2}))),
                           .streams = {}};
  if (checkpoint.empty()) return result;
  const KvProjector projector = projector_for(codes, checkpoint);
  result.streams = latent ? certify_streams(projector, decoded_MTW, widths.half_widths_STD)
                          : certify_streams(projector, projector.plan().gather(decoded_MTW),
                                            projector.plan().gather(widths.half_widths_STD));
  return result;
}

nlohmann::json to_json(const PacketCertificate& certificate) {
  nlohmann::json streams = nlohmann::json::array();
  for (const PacketStreamCertificate& stream : certificate.streams) {
    streams.push_back({{"stream", stream.stream},
                       {"output_norm", stream.output_norm},
                       {"certified", to_json(stream.certified)},
                       {"vacuous", stream.vacuous}});
  }
  return {{"wire", certificate.wire},
          {"holds", certificate.latent ? "latent" : "cache"},
          {"tokens", certificate.tokens},
          {"uncertified", certificate.uncertified},
          {"uncertified_tokens", certificate.uncertified_tokens},
          {"certified_relative", to_json(certificate.relative)},
          {"streams", streams}};
}

std::string to_text(const PacketCertificate& certificate) {
  std::ostringstream text;
  text.precision(3);
  const auto percent = [](double share) { return 100 * share; };
  text << certificate.tokens << " tokens of a " << (certificate.latent ? "latent" : "cache")
       << " in " << certificate.wire << "\n";
  if (certificate.uncertified > 0) {
    text << "uncertified: " << certificate.uncertified << " numbers of "
         << certificate.uncertified_tokens
         << " tokens have the largest code under a static scale and may be saturated\n";
  }
  text << "certified: |x - x_hat| / |x_hat| of a token at most "
       << percent(certificate.relative.p50) << " % (median), " << percent(certificate.relative.max)
       << " % (largest)\n";
  for (const PacketStreamCertificate& stream : certificate.streams) {
    text << stream.stream << ": |P(x) - P(x_hat)| at most " << stream.certified.p50 << " (median), "
         << stream.certified.max << " (largest), |P(x_hat)| " << stream.output_norm
         << ", vacuous for " << percent(stream.vacuous) << " % of tokens\n";
  }
  return text.str();
}

}  // namespace kvalign
