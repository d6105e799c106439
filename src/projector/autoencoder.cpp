// autoencoder, an alternative of the project's first design: an encoder from the receiver's cache
// to a latent as wide as the sender's cache (4096 -> 512) and a decoder back, trained on the
// receiver's caches alone. By itself it connects no two models: a sender's cache is no latent. It
// is made usable here by a map from the sender's features into the latent, so that the decoder
// makes the receiver's streams of it and the whole is a projector like any other:
//
//   latent = encoder(receiver's streams)      reconstruction = decoder(latent)
//   latent = map(sender's features)           projection = decoder(latent)
//
// The encoder and the decoder learn from reconstructions and nothing else: projections send
// gradients through the decoder to the map, never into it. All three are linear, so that the best
// decoder spans the principal components of the receiver's caches (Baldi and Hornik 1989), whatever
// of them a sender knows; low_rank, whose latent is made for the sender, is its counterpart.
//
// Parameters: map.weight [1, r, F], map.bias [1, r], decoder.weight [R, D, r], decoder.bias [R, D],
// encoder.linear.weight [1, r, R * D], encoder.linear.bias [1, r]; r = rank.
#include <ATen/ATen.h>

#include "kvalign/core/random.h"
#include "kvalign/projector/projector.h"
#include "stacked_linear.h"

namespace kvalign {
namespace {

ProjectorShape latent_of(const ProjectorShape& shape, int64_t rank) {
  return {.num_groups = 1, .num_features = shape.num_features, .num_streams = 1, .width = rank};
}

class Autoencoder : public Projector {
 public:
  Autoencoder(const ProjectorOptions& options, const ProjectorShape& shape)
      : Projector(options, shape) {
    TORCH_CHECK(this->options().norm == "none", "autoencoder: expected norm none or auto, got ",
                this->options().norm, ". Its decoder ends in none");
    TORCH_CHECK(shape.num_groups == 1,
                "autoencoder: expected one group of features, since one latent serves all streams, "
                "got ",
                shape.num_groups, ". Use layer_map.kind all with layer_map.features both");
    at::Generator generator = make_generator(options.seed);
    map_ = register_module("map", std::make_shared<StackedLinear>(latent_of(shape, options.rank),
                                                                  BiasInit::kZero, generator));
    ProjectorShape streams = shape;
    streams.num_features = options.rank;
    decoder_ = register_module(
        "decoder", std::make_shared<StackedLinear>(streams, BiasInit::kZero, generator));
  }

  std::shared_ptr<Projector> add_receiver_part(const ProjectorShape& shape) override;

  at::Tensor decode(const at::Tensor& latent_1Tr) const {
    return with_output_statistics(decoder_->forward(latent_1Tr));
  }

 protected:
  at::Tensor project(const at::Tensor& features_1TF) override {
    return with_output_statistics(decoder_->forward_frozen(map_->forward(features_1TF)));
  }

  void fold_features(const Statistics& statistics) override {
    map_->fold_input(statistics.mean, statistics.scale);
  }

  void fold_outputs(const Statistics& statistics) override {
    decoder_->fold_output(statistics.mean, statistics.scale);
  }

 private:
  std::shared_ptr<StackedLinear> map_, decoder_;
};

// The receiver's streams to themselves. Outputs take the statistics of the decoder's owner.
class Encoder : public Projector {
 public:
  // `owner` holds this as a submodule, so it lives longer.
  Encoder(const ProjectorOptions& options, const ProjectorShape& shape, const Autoencoder& owner)
      : Projector(options, shape), owner_(owner) {
    at::Generator generator = make_generator(derive_seed(options.seed, 1));
    linear_ =
        register_module("linear", std::make_shared<StackedLinear>(latent_of(shape, options.rank),
                                                                  BiasInit::kZero, generator));
  }

 protected:
  at::Tensor project(const at::Tensor& features_1TF) override {
    return owner_.decode(linear_->forward(features_1TF));
  }

  void fold_features(const Statistics& statistics) override {
    linear_->fold_input(statistics.mean, statistics.scale);
  }

 private:
  const Autoencoder& owner_;
  std::shared_ptr<StackedLinear> linear_;
};

std::shared_ptr<Projector> Autoencoder::add_receiver_part(const ProjectorShape& shape) {
  ProjectorOptions part = options();
  part.standardise_targets = false;
  return register_module("encoder", std::make_shared<Encoder>(part, shape, *this));
}

}  // namespace

std::shared_ptr<Projector> make_autoencoder(const ProjectorOptions& options,
                                            const ProjectorShape& shape) {
  return std::make_shared<Autoencoder>(options, shape);
}

}  // namespace kvalign
