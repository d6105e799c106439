// truncate and pad, baselines without parameters: copy the features that fit and cut the rest
// (truncate, F >= D) or fill up with zeros (pad, F < D). One idea under two names; each name
// refuses the other's case, so that a table never shows one row twice.
#include <ATen/ATen.h>
#include <ATen/ops/constant_pad_nd.h>

#include "kvalign/projector/projector.h"

namespace kvalign {
namespace {

class CopyProjector : public Projector {
 public:
  CopyProjector(const ProjectorOptions& options, const ProjectorShape& shape)
      : Projector(options, shape) {}

 protected:
  at::Tensor project(const at::Tensor& features_GTF) override {
    // A negative pad cuts.
    return at::constant_pad_nd(features_GTF, {0, shape().width - shape().num_features});
  }
};

}  // namespace

std::shared_ptr<Projector> make_truncate(const ProjectorOptions& options,
                                         const ProjectorShape& shape) {
  TORCH_CHECK(shape.num_features >= shape.width, "projector kind truncate: expected at least ",
              shape.width, " features for a width of ", shape.width, ", got ", shape.num_features,
              ". Use kind pad.");
  return std::make_shared<CopyProjector>(options, shape);
}

std::shared_ptr<Projector> make_pad(const ProjectorOptions& options, const ProjectorShape& shape) {
  TORCH_CHECK(shape.num_features < shape.width, "projector kind pad: expected fewer than ",
              shape.width, " features for a width of ", shape.width, ", got ", shape.num_features,
              ". Use kind truncate.");
  return std::make_shared<CopyProjector>(options, shape);
}

}  // namespace kvalign
