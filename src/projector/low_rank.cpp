// low_rank: one latent of `rank` numbers a token for all streams, which is what is sent, then a
// linear map of it to each stream. The latent takes its wire's rounding wherever it passes, so that
// training and evaluation see what use does; gradients pass straight through it.
//
// Parameters: encoder.weight [1, r, F], encoder.bias [1, r], decoder.weight [R, D, r], decoder.bias
// [R, D].
#include <ATen/ATen.h>

#include "kvalign/core/random.h"
#include "kvalign/format/fp8.h"
#include "kvalign/projector/projector.h"
#include "latent_wire.h"
#include "stacked_linear.h"

namespace kvalign {
namespace {

class LowRank : public Projector {
 public:
  LowRank(const ProjectorOptions& options, const ProjectorShape& shape)
      : Projector(options, shape) {
    TORCH_CHECK(this->options().norm == "none",
                "low_rank: expected norm none (or auto for a pair "
                "of models), got ",
                this->options().norm);
    TORCH_CHECK(shape.num_groups == 1,
                "low_rank: expected one group of features, since one latent serves all streams, "
                "got ",
                shape.num_groups, ". Use layer_map.kind all with layer_map.features both");
    at::Generator generator = make_generator(options.seed);
    const ProjectorShape latent{.num_groups = 1,
                                .num_features = shape.num_features,
                                .num_streams = 1,
                                .width = options.rank};
    const ProjectorShape streams{.num_groups = 1,
                                 .num_features = options.rank,
                                 .num_streams = shape.num_streams,
                                 .width = shape.width};
    encoder_ = register_module("encoder",
                               std::make_shared<StackedLinear>(latent, BiasInit::kZero, generator));
    decoder_ = register_module(
        "decoder", std::make_shared<StackedLinear>(streams, BiasInit::kZero, generator));
  }

 protected:
  at::Tensor project(const at::Tensor& features_GTF) override {
    at::Tensor latent_1Tr =
        latent_through_wire(encoder_->forward(features_GTF), options().latent_wire);
    if (used_rank() > 0) latent_1Tr = latent_1Tr * beginning_r(latent_1Tr);
    return project_whole_latent(latent_1Tr);
  }

  at::Tensor project_whole_latent(const at::Tensor& latent_1Tr) override {
    return with_output_statistics(decoder_->forward(latent_1Tr));
  }

  // 1 for the numbers in use, 0 for the others.
  at::Tensor beginning_r(const at::Tensor& like) const {
    return at::arange(options().rank, like.options().dtype(at::kLong))
        .lt(used_rank())
        .to(like.scalar_type());
  }

  void fold_features(const Statistics& statistics) override {
    encoder_->fold_input(statistics.mean, statistics.scale);
  }

  void fold_outputs(const Statistics& statistics) override {
    decoder_->fold_output(statistics.mean, statistics.scale);
  }

 private:
  std::shared_ptr<StackedLinear> encoder_, decoder_;
};

}  // namespace

at::Tensor latent_through_wire(const at::Tensor& latent, const std::string& wire) {
  if (wire == "float32") return latent;
  const at::Tensor fixed = latent.detach();
  const at::Tensor sent = wire == "float16"
                              ? fixed.to(at::kHalf).to(latent.scalar_type())
                              : latent_codes(fixed).to(latent.scalar_type()) * kLatentScale;
  return latent.requires_grad() ? latent + (sent - fixed) : sent;
}

at::Tensor latent_codes(const at::Tensor& latent) {
  const double largest = fp8_largest(Fp8Format::kE4M3FN);
  return (latent / kLatentScale).clamp(-largest, largest).to(at::kFloat8_e4m3fn);
}

std::shared_ptr<Projector> make_low_rank(const ProjectorOptions& options,
                                         const ProjectorShape& shape) {
  return std::make_shared<LowRank>(options, shape);
}

}  // namespace kvalign
