// Bounds of FP8 codes, whatever brought them, and of what is projected from them. Private to
// deploy/.
//
// Shapes:  M streams that arrived   T tokens   W their width
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "kvalign/bounds/quantisation_bound.h"
#include "kvalign/deploy/packet_certificate.h"
#include "kvalign/evaluate/stream_certificate.h"
#include "kvalign/ops/fp8_wire.h"

namespace kvalign {

class FrozenProjector;

struct CodedRows {
  at::Tensor codes_MTW, scales_MX;  // as PacketCodes has them
  Fp8Wire wire = {};
  ScaleOrigin origin = ScaleOrigin::kOwnAmax;
  at::Tensor decoded_MTW = {};  // float32
  int64_t num_kv_heads = 1;
  bool latent = false;
};

/// Scales that travel with tokens or blocks are of the very numbers that were encoded.
ScaleOrigin origin_of(ScaleGranularity granularity);

/// `tokens` (int64 [n]) of them alone.
CodedRows take_tokens(const CodedRows& rows, const at::Tensor& tokens);

/// At least one token. Streams are bounded where there is a projector; a latent may have fewer
/// numbers than it reads: the others are 0.
PacketCertificate certify_rows(
    const CodedRows& rows, const FrozenProjector* projector = nullptr,
    const std::function<StreamCertificate(int64_t stream)>& certificate_of = nullptr);

}  // namespace kvalign
