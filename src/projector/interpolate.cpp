// interpolate, a baseline without parameters: the features of a token are read as samples of a line
// and resampled to the receiver's width, as F.interpolate(mode="linear", align_corners=False) does.
#include <ATen/ATen.h>

#include "kvalign/projector/projector.h"

namespace kvalign {
namespace {

class Interpolate : public Projector {
 public:
  Interpolate(const ProjectorOptions& options, const ProjectorShape& shape)
      : Projector(options, shape) {}

 protected:
  at::Tensor project(const at::Tensor& features_GTF) override {
    return at::upsample_linear1d(features_GTF, {shape().width}, /*align_corners=*/false);
  }
};

}  // namespace

std::shared_ptr<Projector> make_interpolate(const ProjectorOptions& options,
                                            const ProjectorShape& shape) {
  return std::make_shared<Interpolate>(options, shape);
}

}  // namespace kvalign
