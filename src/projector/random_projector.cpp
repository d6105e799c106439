// random, a baseline without trained parameters: one fixed matrix with N(0, 1/F) elements for each
// stream, drawn from the seed. Outputs have the mean square of the features (Johnson, Lindenstrauss
// 1984). The matrices are buffers, made anew from the seed and never saved.
#include <ATen/ATen.h>

#include <cmath>

#include "kvalign/core/random.h"
#include "kvalign/projector/projector.h"
#include "stacked_linear.h"

namespace kvalign {
namespace {

class RandomProjector : public Projector {
 public:
  RandomProjector(const ProjectorOptions& options, const ProjectorShape& shape)
      : Projector(options, shape) {
    at::Generator generator = make_generator(options.seed);
    const double deviation = 1.0 / std::sqrt(static_cast<double>(shape.num_features));
    weight_RDF_ =
        register_buffer("weight", at::empty({shape.num_streams, shape.width, shape.num_features})
                                      .normal_(0.0, deviation, generator));
  }

 protected:
  at::Tensor project(const at::Tensor& features_GTF) override {
    return stacked_linear(features_GTF, weight_RDF_, /*bias_RD=*/{});
  }

 private:
  at::Tensor weight_RDF_;
};

}  // namespace

std::shared_ptr<Projector> make_random(const ProjectorOptions& options,
                                       const ProjectorShape& shape) {
  return std::make_shared<RandomProjector>(options, shape);
}

}  // namespace kvalign
