// Runs a projector in both precisions and its certificates beside it. See row_certificate.h.
#include "row_certificate.h"
#include "kvalign/evaluate/percentiles.h"
#include "kvalign/evaluate/stream_certificate.h"

#include <ATen/ATen.h>

namespace kvalign {
namespace {

at::Tensor run(Projector& projector, bool reads_latent, const at::Tensor& input_GTF) {
  return reads_latent ? projector.project_latent(input_GTF) : projector.forward(input_GTF);
}

// The outputs in float64 and float32; the projector is as it was afterwards.
void run_both(const Row& row, const SentTokens& sent, RowMoves& moves) {
  const at::NoGradGuard no_gradients;
  Projector& projector = row.projector->projector();
  const at::Device device = projector.parameters().front().device();
  const bool latent = row.projector->latent_bytes() > 0;
  const at::Tensor float32_RTD =
      run(projector, latent, sent.decoded_GTF.to(device)).to(at::kCPU, at::kDouble);
  projector.to(at::kCPU);
  projector.to(at::kDouble);
  moves.exact_RTD = run(projector, latent, sent.exact_GTF.to(at::kDouble)).contiguous();
  moves.decoded_RTD = run(projector, latent, sent.decoded_GTF.to(at::kDouble)).contiguous();
  projector.to(at::kFloat);  // weights were float32: nothing is lost
  projector.to(device);
  moves.numeric =
      at::linalg_vector_norm(float32_RTD - moves.decoded_RTD, 2, {2}).max().item<double>();
}

}  // namespace

int64_t RowMoves::violations() const {
  return measured_RT.le(certified_RT).logical_not().sum().item<int64_t>();
}

std::vector<StreamCertificate> stream_certificates(
    const Row& row, const std::function<void(int64_t done, int64_t total)>& streams_done) {
  const Projector& projector = row.projector->projector();
  const int64_t num_streams = projector.shape().num_streams;
  std::vector<StreamCertificate> certificates;
  for (int64_t stream = 0; stream < num_streams; ++stream) {
    certificates.push_back(make_stream_certificate(projector, stream));
    if (streams_done) streams_done(stream + 1, num_streams);
  }
  return certificates;
}

RowMoves certify_row(const Row& row, const std::vector<StreamCertificate>& certificates,
                     const SentTokens& sent) {
  RowMoves moves;
  run_both(row, sent, moves);
  moves.measured_RT = at::linalg_vector_norm(moves.exact_RTD - moves.decoded_RTD, 2, {2});
  const size_t streams_per_group =
      certificates.size() / static_cast<size_t>(sent.decoded_GTF.size(0));
  std::vector<at::Tensor> certified_T;
  for (size_t stream = 0; stream < certificates.size(); ++stream) {
    const auto group = static_cast<int64_t>(stream / streams_per_group);
    certified_T.push_back(certified_bounds(certificates[stream], sent.decoded_GTF[group],
                                           sent.half_widths_GTF[group]));
  }
  moves.certified_RT = at::stack(certified_T);
  return moves;
}

std::vector<StreamCertificateFigures> stream_figures(const RowMoves& moves,
                                                     const at::Tensor& target_RTD,
                                                     const std::vector<std::string>& names) {
  const at::Tensor norm_RT = at::linalg_vector_norm(moves.decoded_RTD, 2, {2});
  const at::Tensor distance_RT =
      at::linalg_vector_norm(target_RTD.to(at::kDouble) - moves.decoded_RTD, 2, {2});
  const at::Tensor vacuous_R = moves.certified_RT.ge(norm_RT).to(at::kDouble).mean(1);
  std::vector<StreamCertificateFigures> figures;
  for (size_t r = 0; r < names.size(); ++r) {
    const auto stream = static_cast<int64_t>(r);
    figures.push_back({.stream = names[r],
                       .output_norm = percentiles_of(to_list(norm_RT[stream])).p50,
                       .measured = percentiles_of(to_list(moves.measured_RT[stream])),
                       .certified = percentiles_of(to_list(moves.certified_RT[stream])),
                       .vacuous = vacuous_R[stream].item<double>(),
                       .projection = distance_RT[stream].mean().item<double>()});
  }
  return figures;
}

}  // namespace kvalign
