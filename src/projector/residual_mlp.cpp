// residual_mlp: a linear map that is kept as it was fitted, and what a small MLP adds to it:
// y = W x + b + W2 gelu(W1 x + b1) + b2, with the exact (erf) GELU. W2 starts at 0, so that descent
// starts at the linear map. Streams of one feature group share their hidden units.
//
// Parameters: linear.weight [R, D, F] and linear.bias [R, D], frozen; hidden.weight [G, H, F],
// hidden.bias [G, H], output.weight [R, D, H], output.bias [R, D]; H = hidden_size.
#include <ATen/ATen.h>

#include "kvalign/core/random.h"
#include "kvalign/projector/projector.h"
#include "stacked_linear.h"

namespace kvalign {
namespace {

class ResidualMlp : public Projector {
 public:
  ResidualMlp(const ProjectorOptions& options, const ProjectorShape& shape)
      : Projector(options, shape) {
    TORCH_CHECK(this->options().norm == "none",
                "residual_mlp: expected norm none (or auto for a pair of models), got ",
                this->options().norm, ". Its linear part is fitted in closed form, without a norm");
    at::Generator generator = make_generator(options.seed);
    const ProjectorShape hidden{.num_groups = shape.num_groups,
                                .num_features = shape.num_features,
                                .num_streams = shape.num_groups,
                                .width = options.hidden_size};
    ProjectorShape output = shape;
    output.num_features = options.hidden_size;
    const auto make = [&](const char* name, const ProjectorShape& part, BiasInit bias_init) {
      return register_module(name, std::make_shared<StackedLinear>(part, bias_init, generator));
    };
    linear_ = make("linear", shape, BiasInit::kZero);
    hidden_ = make("hidden", hidden, BiasInit::kUniform);
    output_ = make("output", output, BiasInit::kZero);
    for (at::Tensor& parameter : linear_->parameters()) parameter.set_requires_grad(false);
    const at::NoGradGuard no_gradients;
    for (at::Tensor& parameter : output_->parameters()) parameter.zero_();
  }

 protected:
  at::Tensor project(const at::Tensor& features_GTF) override {
    const at::Tensor hidden_GTH = at::gelu(hidden_->forward(features_GTF), "none");
    return with_output_statistics(linear_->forward(features_GTF) + output_->forward(hidden_GTH));
  }

  void fold_features(const Statistics& statistics) override {
    linear_->fold_input(statistics.mean, statistics.scale);
    hidden_->fold_input(statistics.mean, statistics.scale);
  }

  void fold_outputs(const Statistics& statistics) override {
    linear_->fold_output(statistics.mean, statistics.scale);
    output_->fold_output(at::zeros_like(statistics.mean), statistics.scale);
  }

 private:
  std::shared_ptr<StackedLinear> linear_, hidden_, output_;
};

}  // namespace

std::shared_ptr<Projector> make_residual_mlp(const ProjectorOptions& options,
                                             const ProjectorShape& shape) {
  return std::make_shared<ResidualMlp>(options, shape);
}

}  // namespace kvalign
