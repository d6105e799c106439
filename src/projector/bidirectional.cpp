// bidirectional, the project's first design of a projector that goes both ways: expand, a linear
// map with a bias from the sender's features to the receiver's streams (this file), and compress,
// the way back (compress.h). The two share no weights; kv_projector.h runs either.
//
// Parameters: expand.weight [R, D, F], expand.bias [R, D], and those of compress.
#include <ATen/ATen.h>

#include "compress.h"
#include "kvalign/core/random.h"
#include "stacked_linear.h"

namespace kvalign {
namespace {

class Bidirectional : public Projector {
 public:
  Bidirectional(const ProjectorOptions& options, const ProjectorShape& shape)
      : Projector(options, shape) {
    TORCH_CHECK(this->options().norm == "none", "bidirectional: expected norm none or auto, got ",
                this->options().norm, ". Neither of its directions ends in one");
    at::Generator generator = make_generator(options.seed);
    expand_ = register_module("expand",
                              std::make_shared<StackedLinear>(shape, BiasInit::kZero, generator));
  }

  std::shared_ptr<Projector> add_receiver_part(const ProjectorShape& shape) override {
    return register_module("compress", make_compress(options(), shape));
  }

 protected:
  at::Tensor project(const at::Tensor& features_GTF) override {
    return with_output_statistics(expand_->forward(features_GTF));
  }

  void fold_features(const Statistics& statistics) override {
    expand_->fold_input(statistics.mean, statistics.scale);
  }

  void fold_outputs(const Statistics& statistics) override {
    expand_->fold_output(statistics.mean, statistics.scale);
  }

 private:
  std::shared_ptr<StackedLinear> expand_;
};

}  // namespace

std::shared_ptr<Projector> make_bidirectional(const ProjectorOptions& options,
                                              const ProjectorShape& shape) {
  return std::make_shared<Bidirectional>(options, shape);
}

}  // namespace kvalign
