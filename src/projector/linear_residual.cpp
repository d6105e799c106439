// linear_residual, V1 of the project's first design: a linear map, a learnable bias that starts at
// 0 (called "residual" there), and a norm. y = norm(W x + b).
//
// Parameters: linear.weight [R, D, F], linear.bias [R, D], norm.gamma and norm.beta [R, D].
#include <ATen/ATen.h>

#include "kvalign/core/random.h"
#include "kvalign/projector/projector.h"
#include "stacked_linear.h"
#include "stream_norm.h"

namespace kvalign {
namespace {

class LinearResidual : public Projector {
 public:
  LinearResidual(const ProjectorOptions& options, const ProjectorShape& shape)
      : Projector(options, shape) {
    at::Generator generator = make_generator(options.seed);
    linear_ = register_module("linear",
                              std::make_shared<StackedLinear>(shape, BiasInit::kZero, generator));
    norm_ = register_module(
        "norm", std::make_shared<StreamNorm>(norm_kind(this->options().norm), options.norm_epsilon,
                                             shape.num_streams, shape.width));
  }

 protected:
  at::Tensor project(const at::Tensor& features_GTF) override {
    return norm_->forward(linear_->forward(features_GTF), output_mean(), output_scale());
  }

  void fold_features(const Statistics& statistics) override {
    linear_->fold_input(statistics.mean, statistics.scale);
  }

  void fold_outputs(const Statistics& statistics) override {
    norm_->fold_output(*linear_, statistics.mean, statistics.scale);
  }

 private:
  std::shared_ptr<StackedLinear> linear_;
  std::shared_ptr<StreamNorm> norm_;
};

}  // namespace

std::shared_ptr<Projector> make_linear_residual(const ProjectorOptions& options,
                                                const ProjectorShape& shape) {
  return std::make_shared<LinearResidual>(options, shape);
}

}  // namespace kvalign
