// A packet's codes for code_certificate.h, and the results in writing. See packet_certificate.h.
#include "kvalign/deploy/packet_certificate.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "code_certificate.h"
#include "kvalign/core/packet_tensors.h"
#include "kvalign/core/sha256.h"
#include "kvalign/projector/frozen_projector.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "packet_sender.h"

namespace kvalign {
namespace {

// The projector that reads what the packet holds.
KvProjector projector_for(const PacketCodes& packet, const std::string& checkpoint) {
  const KvProjector whole = *load_checkpoint(checkpoint).projector;
  check_packet_sender(packet.header, whole.sender(), packet_id(sha256_of_file(checkpoint)));
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
  const bool latent = codes.header.content == PacketContent::kLatent;
  const CodedRows rows{.codes_MTW = codes.codes_MTW,
                       .scales_MX = codes.scales_MX,
                       .wire = {.format = codes.format, .granularity = codes.granularity},
                       .origin = origin_of(codes.granularity),
                       .decoded_MTW = decode_packet(packet).values_TMW.transpose(0, 1).contiguous(),
                       .num_kv_heads = latent ? 1 : int64_t{codes.header.num_kv_heads},
                       .latent = latent};
  if (checkpoint.empty()) return certify_rows(rows);
  const KvProjector projector = projector_for(codes, checkpoint);
  const FrozenProjector frozen(projector);
  return certify_rows(rows, &frozen, [&](int64_t stream) {
    return make_stream_certificate(projector.projector(), stream);
  });
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
