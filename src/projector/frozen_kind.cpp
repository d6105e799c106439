// The kinds that have a fast path, and the rest. See frozen_kind.h.
#include "frozen_kind.h"

#include <ATen/ATen.h>

#include <utility>

#include "frozen_output.h"
#include "latent_wire.h"

namespace kvalign {
namespace {

ProjectorShape shape_of(int64_t groups, int64_t features, int64_t streams, int64_t width) {
  return {.num_groups = groups, .num_features = features, .num_streams = streams, .width = width};
}

int64_t group_of(const ProjectorShape& shape, int64_t stream) {
  return stream / (shape.num_streams / shape.num_groups);
}

class FrozenLinearResidual final : public FrozenKind {
 public:
  FrozenLinearResidual(Projector& projector, const FrozenLayout& layout)
      : output_(make_output(projector, layout)) {}

  at::Tensor project(const at::Tensor& features_GTF) const override {
    return output_.run(features_GTF.to(output_.feature_dtype()));
  }

 private:
  static FrozenOutput make_output(Projector& projector, const FrozenLayout& layout) {
    const TrainedWeights weights(projector);
    const NormFactors norm = weights.norm();
    const auto map_of = [&](int64_t stream) {
      const StreamMap map = weights.reading_raw_features(weights.map("linear", stream),
                                                         group_of(projector.shape(), stream));
      return norm.kind == NormKind::kNone ? weights.writing_raw_outputs(map, stream) : map;
    };
    return FrozenOutput(projector.shape(), map_of, norm, layout);
  }

  FrozenOutput output_;
};

class FrozenMlp final : public FrozenKind {
 public:
  FrozenMlp(Projector& projector, const FrozenLayout& layout)
      : hidden_(make_hidden(projector, layout)), output_(make_output(projector, layout)) {}

  at::Tensor project(const at::Tensor& features_GTF) const override {
    at::Tensor hidden_RTH = hidden_.run(features_GTF.to(hidden_.feature_dtype()));
    return output_.run(at::gelu_(hidden_RTH, "none"));
  }

 private:
  static FrozenMap make_hidden(Projector& projector, const FrozenLayout& layout) {
    const TrainedWeights weights(projector);
    ProjectorShape shape = projector.shape();
    shape.width = projector.options().hidden_size;
    const auto map_of = [&](int64_t stream) {
      return weights.reading_raw_features(weights.map("input", stream), group_of(shape, stream));
    };
    return FrozenMap(shape, map_of, layout);
  }

  static FrozenOutput make_output(Projector& projector, const FrozenLayout& layout) {
    const TrainedWeights weights(projector);
    const NormFactors norm = weights.norm();
    const ProjectorShape& shape = projector.shape();
    const auto map_of = [&](int64_t stream) {
      const StreamMap map = weights.map("output", stream);
      return norm.kind == NormKind::kNone ? weights.writing_raw_outputs(map, stream) : map;
    };
    return FrozenOutput(shape_of(shape.num_streams, projector.options().hidden_size,
                                 shape.num_streams, shape.width),
                        map_of, norm, layout);
  }

  FrozenMap hidden_;
  FrozenOutput output_;
};

// Both maps of the outputs are one: [W, W2] of [x, gelu(W1 x + b1)].
class FrozenResidualMlp final : public FrozenKind {
 public:
  FrozenResidualMlp(Projector& projector, const FrozenLayout& layout)
      : num_features_(projector.shape().num_features),
        hidden_(make_hidden(projector, layout)),
        output_(make_output(projector, layout)) {}

  at::Tensor project(const at::Tensor& features_GTF) const override {
    const int64_t num_hidden = hidden_.shape().width;
    const at::TensorOptions options = features_GTF.options().dtype(hidden_.feature_dtype());
    at::Tensor all_GTA = at::empty(
        {features_GTF.size(0), features_GTF.size(1), num_features_ + num_hidden}, options);
    at::Tensor features = all_GTA.narrow(2, 0, num_features_);
    features.copy_(features_GTF);
    at::Tensor hidden_GTH = all_GTA.narrow(2, num_features_, num_hidden);
    hidden_.write(features, hidden_GTH);
    at::gelu_(hidden_GTH, "none");
    return output_.run(all_GTA);
  }

 private:
  static FrozenMap make_hidden(Projector& projector, const FrozenLayout& layout) {
    const TrainedWeights weights(projector);
    const ProjectorShape& shape = projector.shape();
    const auto map_of = [&](int64_t group) {
      return weights.reading_raw_features(weights.map("hidden", group), group);
    };
    return FrozenMap(shape_of(shape.num_groups, shape.num_features, shape.num_groups,
                              projector.options().hidden_size),
                     map_of, layout);
  }

  static FrozenOutput make_output(Projector& projector, const FrozenLayout& layout) {
    const TrainedWeights weights(projector);
    ProjectorShape shape = projector.shape();
    const auto map_of = [&](int64_t stream) {
      const StreamMap linear =
          weights.reading_raw_features(weights.map("linear", stream), group_of(shape, stream));
      const StreamMap hidden = weights.map("output", stream);
      return weights.writing_raw_outputs(
          {.weight_DF = at::cat({linear.weight_DF, hidden.weight_DF}, 1),
           .bias_D = linear.bias_D + hidden.bias_D},
          stream);
    };
    shape.num_features += projector.options().hidden_size;
    return FrozenOutput(shape, map_of, weights.norm(), layout);
  }

  int64_t num_features_;
  FrozenMap hidden_;
  FrozenOutput output_;
};

class FrozenLowRank final : public FrozenKind {
 public:
  FrozenLowRank(Projector& projector, const FrozenLayout& layout)
      : wire_(projector.options().latent_wire),
        rank_(projector.options().rank),
        used_rank_(projector.used_rank() > 0 ? projector.used_rank() : rank_),
        encoder_(make_encoder(projector, used_rank_, layout.packs)),
        decoder_(make_decoder(projector, layout)) {}

  at::Tensor project(const at::Tensor& features_1TF) const override {
    return decode(
        latent_through_wire(encoder_.run(features_1TF.to(encoder_.feature_dtype())), wire_));
  }

  at::Tensor project_latent(const at::Tensor& latent_1Tk) const override {
    TORCH_CHECK(latent_1Tk.dim() == 3 && latent_1Tk.size(0) == 1 && latent_1Tk.size(2) >= 1 &&
                    latent_1Tk.size(2) <= rank_,
                "FrozenProjector::project_latent: expected [1, tokens, 1 .. ", rank_, "], got ",
                latent_1Tk.sizes());
    return decode(latent_1Tk);
  }

 private:
  at::Tensor decode(const at::Tensor& latent_1Tk) const {
    const at::Tensor latent = latent_1Tk.to(decoder_.feature_dtype());
    return decoder_.run(latent.size(2) == rank_
                            ? latent
                            : at::constant_pad_nd(latent, {0, rank_ - latent.size(2)}));
  }

  // In float32 whatever the decoder is: its codes are what is sent.
  static FrozenMap make_encoder(Projector& projector, int64_t used_rank, bool packs) {
    const TrainedWeights weights(projector);
    const auto map_of = [&](int64_t stream) {
      const StreamMap map = weights.reading_raw_features(weights.map("encoder", stream), stream);
      return StreamMap{.weight_DF = map.weight_DF.narrow(0, 0, used_rank),
                       .bias_D = map.bias_D.narrow(0, 0, used_rank)};
    };
    return FrozenMap(shape_of(1, projector.shape().num_features, 1, used_rank), map_of,
                     {.packs = packs});
  }

  static FrozenOutput make_decoder(Projector& projector, const FrozenLayout& layout) {
    const TrainedWeights weights(projector);
    ProjectorShape shape = projector.shape();
    shape.num_features = projector.options().rank;
    const auto map_of = [&](int64_t stream) {
      return weights.writing_raw_outputs(weights.map("decoder", stream), stream);
    };
    return FrozenOutput(shape, map_of, weights.norm(), layout);
  }

  std::string wire_;
  int64_t rank_, used_rank_;
  FrozenMap encoder_;
  FrozenOutput decoder_;
};

// Baselines, and kinds whose tokens read one another.
class FrozenOther final : public FrozenKind {
 public:
  FrozenOther(std::shared_ptr<Projector> projector, const FrozenLayout& layout)
      : projector_(std::move(projector)), dtype_(layout.dtype) {}

  at::Tensor project(const at::Tensor& features_GTF) const override {
    return projector_->forward(features_GTF.to(at::kFloat)).to(dtype_);
  }

 private:
  std::shared_ptr<Projector> projector_;
  at::ScalarType dtype_;
};

}  // namespace

at::Tensor FrozenKind::project_latent(const at::Tensor&) const {
  TORCH_CHECK(
      false,
      "FrozenProjector::project_latent: expected kind low_rank, got another, which has no latent");
}

std::unique_ptr<const FrozenKind> freeze(std::shared_ptr<Projector> projector,
                                         const FrozenLayout& layout) {
  const std::string& kind = projector->options().kind;
  if (kind == "linear_residual") return std::make_unique<FrozenLinearResidual>(*projector, layout);
  if (kind == "mlp") return std::make_unique<FrozenMlp>(*projector, layout);
  if (kind == "residual_mlp") return std::make_unique<FrozenResidualMlp>(*projector, layout);
  if (kind == "low_rank") return std::make_unique<FrozenLowRank>(*projector, layout);
  return std::make_unique<FrozenOther>(std::move(projector), layout);
}

}  // namespace kvalign
