// The projected cache of a sequence with exact sinks and exact last tokens. See
// certify_attention.h.
//
// Shapes:  R streams   T tokens of a sequence, sinks included   D receiver width
#include "certify_attention.h"

#include <ATen/ATen.h>

#include <stdexcept>

#include "row_certificate.h"
#include "sent_tokens.h"

namespace kvalign {
namespace {

void check_receiver(const KvGeometry& got, const DatasetSide& expected, const std::string& folder) {
  KvGeometry named = got;
  named.model = expected.geometry.model;
  if (named == expected.geometry) return;
  throw std::invalid_argument("certify: expected evaluate.certify.receiver to be the dataset's " +
                              expected.geometry.model + ", got " + folder +
                              ", whose cache has another geometry. Give the folder that was "
                              "captured.");
}

// Another model of the same geometry has another cache; what was stored in bfloat16 differs by 0.4
// %.
void check_same_cache(const at::Tensor& computed_RTD, const at::Tensor& stored_RTD,
                      const std::string& folder) {
  constexpr double kMostDifference = 0.02;
  const at::Tensor stored = stored_RTD.to(at::kDouble);
  const double difference = ((computed_RTD - stored).norm() / stored.norm()).item<double>();
  if (difference <= kMostDifference) return;
  throw std::invalid_argument(
      "certify: expected evaluate.certify.receiver to compute the dataset's "
      "caches, got " +
      folder + ", whose cache of the same tokens is " + std::to_string(difference) +
      " away (relative). Give the model that was captured.");
}

}  // namespace

AttentionOfRows::AttentionOfRows(const CertifyOptions& options, const CertifyContext& context,
                                 const std::vector<int64_t>& sequences)
    : options_(options), context_(context) {
  const PairedDataset& dataset = *context.data.dataset;
  if (!dataset.has_token_ids()) {
    throw std::invalid_argument("certify: " + dataset.folder().string() +
                                " holds no token ids, which the receiver would have to read. "
                                "Leave out evaluate.certify.receiver.");
  }
  const auto receiver = std::make_shared<const Decoder>(Decoder::load(options.receiver));
  check_receiver(receiver->geometry(), dataset.index().receiver, options.receiver);
  for (const int64_t sequence : sequences) {
    const int64_t projected =
        dataset.sequence_length(sequence) - context.data.skip_first_tokens - options.queries;
    if (projected < 1) {
      throw std::invalid_argument(
          "certify: expected sequences of more tokens than evaluate.certify.queries (" +
          std::to_string(options.queries) + ") and the sinks, got sequence " +
          std::to_string(sequence) + " of " + std::to_string(dataset.sequence_length(sequence)) +
          ".");
    }
    const PairedBatch batch = dataset.read({sequence});
    texts_.push_back({sequence, read_queries(*receiver, batch.token_ids, options.queries)});
    check_same_cache(texts_.back().queries.cache_RTD, batch.receiver_RTD, options.receiver);
  }
  certificate_ = std::make_unique<AttentionCertificate>(receiver);
}

void AttentionOfRows::certify(const Row& row, const std::vector<StreamCertificate>& certificates,
                              CertificateRow& result) const {
  AttentionCertificate::Observations wire, whole;
  const int64_t skip = context_.data.skip_first_tokens;
  int64_t done = 0;
  for (const Text& text : texts_) {
    const at::Tensor sender_STd = context_.data.dataset->read({text.sequence}, skip).sender_STd;
    const int64_t projected = sender_STd.size(1) - options_.queries;
    const SentTokens sent =
        send_tokens(row, parse_fp8_wire(options_.wire), sender_STd.narrow(1, 0, projected));
    const RowMoves moves = certify_row(row, certificates, sent);
    // What the receiver computes itself, before and after, is exact.
    const auto put = [&](const at::Tensor& middle_RTD) {
      at::Tensor cache_RTD = text.queries.cache_RTD.clone();
      cache_RTD.narrow(1, skip, projected).copy_(middle_RTD);
      return cache_RTD;
    };
    const auto radii = [&](const at::Tensor& middle_RT) {
      at::Tensor radius_RT =
          at::zeros({middle_RT.size(0), text.queries.cache_RTD.size(1)}, at::kDouble);
      radius_RT.narrow(1, skip, projected).copy_(middle_RT);
      return radius_RT;
    };
    const at::Tensor arrived_RTD = put(moves.decoded_RTD);
    if (moves.certified_RT.isfinite().all().item<bool>()) {
      certificate_->observe(text.queries,
                            {.from_RTD = arrived_RTD,
                             .to_RTD = put(moves.exact_RTD),
                             .radius_RT = radii(moves.certified_RT)},
                            wire);
    } else {
      ++wire.left_out;
    }
    result.violations += sent.num_violations + moves.violations();
    const at::Tensor distance_RT = at::linalg_vector_norm(
        text.queries.cache_RTD.narrow(1, skip, projected) - moves.decoded_RTD, 2, {2});
    certificate_->observe(text.queries,
                          {.from_RTD = text.queries.cache_RTD,
                           .to_RTD = arrived_RTD,
                           .radius_RT = radii(distance_RT * (1 + 0x1p-40)),
                           .to_is_known = true},
                          whole);
    if (context_.data.progress) {
      context_.data.progress("attention of " + row.name, ++done,
                             static_cast<int64_t>(texts_.size()));
    }
  }
  result.violations += wire.violations + whole.violations;
  result.attention_wire = AttentionCertificate::figures(wire);
  result.attention_whole = AttentionCertificate::figures(whole);
}

}  // namespace kvalign
