// mlp, V2 of the project's first design: y = norm(W2 gelu(W1 x + b1) + b2), with the exact (erf)
// GELU. Every stream has its own hidden units.
//
// Parameters: input.weight [R, H, F], input.bias [R, H], output.weight [R, D, H], output.bias
// [R, D], norm.gamma and norm.beta [R, D]; H = hidden_size.
#include <ATen/ATen.h>

#include "kvalign/core/random.h"
#include "kvalign/projector/projector.h"
#include "stacked_linear.h"
#include "stream_norm.h"

namespace kvalign {
namespace {

class Mlp : public Projector {
 public:
  Mlp(const ProjectorOptions& options, const ProjectorShape& shape) : Projector(options, shape) {
    at::Generator generator = make_generator(options.seed);
    ProjectorShape input_shape = shape;
    input_shape.width = options.hidden_size;
    const ProjectorShape output_shape{.num_groups = shape.num_streams,
                                      .num_features = options.hidden_size,
                                      .num_streams = shape.num_streams,
                                      .width = shape.width};
    input_ = register_module(
        "input", std::make_shared<StackedLinear>(input_shape, BiasInit::kUniform, generator));
    output_ = register_module(
        "output", std::make_shared<StackedLinear>(output_shape, BiasInit::kUniform, generator));
    norm_ = register_module(
        "norm", std::make_shared<StreamNorm>(norm_kind(this->options().norm), options.norm_epsilon,
                                             shape.num_streams, shape.width));
  }

 protected:
  at::Tensor project(const at::Tensor& features_GTF) override {
    const at::Tensor hidden_RTH = at::gelu(input_->forward(features_GTF), "none");
    return norm_->forward(output_->forward(hidden_RTH), output_mean(), output_scale());
  }

  void fold_features(const Statistics& statistics) override {
    input_->fold_input(statistics.mean, statistics.scale);
  }

  void fold_outputs(const Statistics& statistics) override {
    norm_->fold_output(*output_, statistics.mean, statistics.scale);
  }

 private:
  std::shared_ptr<StackedLinear> input_;
  std::shared_ptr<StackedLinear> output_;
  std::shared_ptr<StreamNorm> norm_;
};

}  // namespace

std::shared_ptr<Projector> make_mlp(const ProjectorOptions& options, const ProjectorShape& shape) {
  return std::make_shared<Mlp>(options, shape);
}

}  // namespace kvalign
