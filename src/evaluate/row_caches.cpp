// Puts the cache of a row together. See row_caches.h.
#include "row_caches.h"

#include <ATen/ATen.h>

namespace kvalign {

at::Tensor through_wire(const KvCache& cache, const LadderOptions& options) {
  return cache.streams().to(wire_dtype(options)).to(at::kFloat);
}

at::Tensor RowCaches::streams(const LadderRowPlan& plan) {
  const int64_t sinks = plan.info.sinks;
  const at::Tensor sinks_RCD = own_RTD_.narrow(1, 0, sinks);
  switch (plan.source) {
    case CacheSource::kText:
    case CacheSource::kNone:
    case CacheSource::kSenderAlone:
    case CacheSource::kToSender:
    case CacheSource::kWrongToSender:
    case CacheSource::kSenderNoCache:
      return {};
    case CacheSource::kTrueCache:
      return through_wire(own_, setup_.options);
    case CacheSource::kStart:
      return sinks > 0 ? sinks_RCD : at::Tensor();
    case CacheSource::kProjected:
    case CacheSource::kWrongDocument:
      break;
  }
  const bool is_wrong = plan.source == CacheSource::kWrongDocument;
  const at::Tensor& whole_RTD =
      projected(plan.projector, is_wrong ? setup_.other_document(text_) : text_, sinks);
  const int64_t covered = whole_RTD.size(1) - plan.info.reread;
  return at::cat({sinks_RCD, whole_RTD.narrow(1, sinks, covered - sinks)}, 1);
}

// The projector's whole cache [R, T, D]; the first `sinks` tokens were not sent. Projectors work
// token by token, so that the cache of a shorter prefix is its beginning; scales that tokens share
// are those of the whole prefix, whatever is re-read.
const at::Tensor& RowCaches::projected(size_t projector, size_t text, int64_t sinks) {
  const Row& row = setup_.projectors[projector];
  const auto key = std::tuple(projector, text, row.fp8_wire ? sinks : 0);
  if (projected_RTD_.count(key) == 0) {
    projected_RTD_[key] = row.project(arrived(row, senders_.features(text), sinks)).contiguous();
  }
  return projected_RTD_.at(key);
}

}  // namespace kvalign
