// See projector_size.h.
#include "projector_size.h"

namespace kvalign {

ProjectorSize projector_size(const KvProjector& projector) {
  const ProjectorOptions& options = projector.projector().options();
  const ProjectorShape& shape = projector.projector().shape();
  return {.kind = options.kind,
          .norm = options.norm,
          .hidden_size = options.hidden_size,
          .rank = options.rank,
          .num_groups = shape.num_groups,
          .num_features = shape.num_features,
          .num_streams = shape.num_streams,
          .width = shape.width,
          .sender_width = num_streams(projector.sender()) * projector.sender().width()};
}

}  // namespace kvalign
