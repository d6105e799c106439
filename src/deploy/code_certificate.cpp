// From codes and scales to bounds. See code_certificate.h.
//
// Shapes:  M streams that arrived   T tokens   W their width   G feature groups   F features
//          R receiver streams
#include "code_certificate.h"

#include <ATen/ATen.h>

#include "kvalign/dataset/dataset_index.h"
#include "kvalign/ops/fp8_half_widths.h"
#include "kvalign/projector/frozen_projector.h"

namespace kvalign {
namespace {

at::Tensor norms(const at::Tensor& values, at::IntArrayRef dimensions) {
  return at::linalg_vector_norm(values.to(at::kDouble), 2, dimensions);
}

// What the projector's maps read.
at::Tensor features_of(const FrozenProjector& projector, const at::Tensor& values_MTW,
                       bool latent) {
  if (!latent) return projector.plan().gather(values_MTW);
  return at::constant_pad_nd(values_MTW, {0, projector.options().rank - values_MTW.size(2)});
}

std::vector<PacketStreamCertificate> certify_streams(
    const FrozenProjector& projector, const at::Tensor& decoded_MTW,
    const std::function<StreamCertificate(int64_t stream)>& certificate_of,
    const at::Tensor& decoded_GTF, const at::Tensor& half_widths_GTF, bool latent) {
  const at::NoGradGuard no_gradients;
  const at::Tensor decoded = decoded_MTW.to(projector.device());
  const at::Tensor outputs_RTD =
      (latent ? projector.project_latent(decoded) : projector.project(decoded)).to(at::kCPU);
  const at::Tensor norm_RT = norms(outputs_RTD, {2});
  const int64_t num_streams = outputs_RTD.size(0);
  const std::vector<std::string> names =
      stream_names(is_flat(projector.receiver()) ? DatasetLayout::kFlat : DatasetLayout::kLayers,
                   projector.receiver());
  std::vector<PacketStreamCertificate> streams;
  for (int64_t stream = 0; stream < num_streams; ++stream) {
    const int64_t group = stream / (num_streams / decoded_GTF.size(0));
    const at::Tensor certified_T =
        certified_bounds(certificate_of(stream), decoded_GTF[group], half_widths_GTF[group]);
    streams.push_back(
        {.stream = names[static_cast<size_t>(stream)],
         .output_norm = percentiles_of(to_list(norm_RT[stream])).p50,
         .certified = percentiles_of(to_list(certified_T)),
         .vacuous = certified_T.ge(norm_RT[stream]).to(at::kDouble).mean().item<double>()});
  }
  return streams;
}

}  // namespace

ScaleOrigin origin_of(ScaleGranularity granularity) {
  return granularity == ScaleGranularity::kToken || granularity == ScaleGranularity::kBlock32
             ? ScaleOrigin::kOwnAmax
             : ScaleOrigin::kEarlier;
}

CodedRows take_tokens(const CodedRows& rows, const at::Tensor& tokens) {
  CodedRows taken = rows;
  taken.codes_MTW = rows.codes_MTW.index_select(1, tokens);
  taken.decoded_MTW = rows.decoded_MTW.index_select(1, tokens);
  if (origin_of(rows.wire.granularity) == ScaleOrigin::kOwnAmax) {
    const int64_t streams = rows.codes_MTW.size(0), all = rows.codes_MTW.size(1);
    taken.scales_MX =
        rows.scales_MX.view({streams, all, -1}).index_select(1, tokens).flatten(1).contiguous();
  }
  return taken;
}

PacketCertificate certify_rows(
    const CodedRows& rows, const FrozenProjector* projector,
    const std::function<StreamCertificate(int64_t stream)>& certificate_of) {
  const Fp8HalfWidths widths =
      fp8_half_widths(rows.codes_MTW, rows.scales_MX, rows.wire, rows.num_kv_heads, rows.origin);
  const at::Tensor unbounded_T = widths.half_widths_STD.isinf().any(2).any(0);
  PacketCertificate result{
      .wire = fp8_wire_name(rows.wire),
      .latent = rows.latent,
      .tokens = rows.decoded_MTW.size(1),
      .uncertified = widths.num_unbounded,
      .uncertified_tokens = unbounded_T.sum().item<int64_t>(),
      .relative = percentiles_of(
          to_list(norms(widths.half_widths_STD, {0, 2}) / norms(rows.decoded_MTW, {0, 2}))),
      .streams = {}};
  if (projector == nullptr) return result;
  result.streams =
      certify_streams(*projector, rows.decoded_MTW, certificate_of,
                      features_of(*projector, rows.decoded_MTW, rows.latent),
                      features_of(*projector, widths.half_widths_STD, rows.latent), rows.latent);
  return result;
}

}  // namespace kvalign
