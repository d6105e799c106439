// What a server can prove of a packet alone, without the sender's floats: how far each number may
// be from what the device had, and, with the checkpoint, how far each projected stream may be from
// what the unrounded cache would have given.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "kvalign/evaluate/certificate_report.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct PacketStreamCertificate {
  std::string stream = {};     ///< "keys.0"
  double output_norm = 0;      ///< median over tokens of |P(x_hat)|
  Percentiles certified = {};  ///< |P(x) - P(x_hat)| at most; infinite for an uncertified token
  double vacuous = 0;          ///< share of tokens whose bound is at least |P(x_hat)|
};

struct PacketCertificate {
  std::string wire = {};  ///< "float8_e4m3fn/token"
  bool latent = false;
  int64_t tokens = 0;              ///< in chunks: sinks and re-read tokens travel as ids
  int64_t uncertified = 0;         ///< numbers with the largest code under a static scale
  int64_t uncertified_tokens = 0;  ///< tokens that have such a number
  Percentiles relative = {};       ///< |x - x_hat| / |x_hat| of a token at most
  std::vector<PacketStreamCertificate> streams = {};  ///< empty without a checkpoint
};

/// Scales of tokens and blocks are of the very numbers that were encoded. Of static scales that
/// cannot be known: their largest codes may be saturated, and are counted as uncertified.
/// `checkpoint`: path, or empty. Throws std::invalid_argument as packet_codes, and
/// std::runtime_error as load_checkpoint, for a packet without numbers or not of the checkpoint's
/// sender, and for a checkpoint that reads caches given a latent, or the other way round.
KVALIGN_API PacketCertificate certify_packet(std::string_view packet,
                                             const std::string& checkpoint = "");

KVALIGN_API nlohmann::json to_json(const PacketCertificate& certificate);
KVALIGN_API std::string to_text(const PacketCertificate& certificate);

}  // namespace kvalign
