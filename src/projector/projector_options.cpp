// What a recipe's `projector` section may say.
#include "kvalign/projector/projector_options.h"

#include "kvalign/core/options.h"
#include "kvalign/projector/projector.h"

namespace kvalign {

void ProjectorOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "kind",
                 .help = "the map from features to streams; truncate, pad, interpolate and random "
                         "are baselines without parameters",
                 .one_of = projector_kinds()},
                kind);
  visitor.field({.name = "norm",
                 .help = "what the outputs of linear_residual and mlp end with; auto is layer for "
                         "flat caches and none for pairs of models",
                 .one_of = {"auto", "layer", "rms", "none"}},
                norm);
  visitor.field({.name = "norm_epsilon",
                 .help = "added to the variance in the norm",
                 .minimum = 0,
                 .exclusive_minimum = true},
                norm_epsilon);
  visitor.field(
      {.name = "hidden_size",
       .help = "mlp: width between its two linear maps, for each stream; residual_mlp: for "
               "each group of streams that read the same features",
       .minimum = 1},
      hidden_size);
  visitor.field(
      {.name = "rank", .help = "low_rank and autoencoder: numbers of the latent", .minimum = 1},
      rank);
  visitor.field({.name = "latent_wire",
                 .help = "low_rank: type in which the latent is sent",
                 .one_of = {"float32", "float16", "float8_e4m3fn"}},
                latent_wire);
  visitor.field({.name = "compress_weights",
                 .help = "bidirectional: attention weights of the way back; mean_one keeps the "
                         "scale of tokens, sum_one is a plain softmax, about 1 / tokens each",
                 .one_of = {"mean_one", "sum_one"}},
                compress_weights);
  visitor.field({.name = "standardise_features",
                 .help = "train on features with mean 0 and scale 1 (training split)"},
                standardise_features);
  visitor.field({.name = "standardise_targets",
                 .help = "start outputs at the mean and scale of the targets (training split)"},
                standardise_targets);
  visitor.field({.name = "seed", .help = "of the initial weights", .minimum = 0}, seed);
  visitor.section("layer_map", "which sender streams feed which receiver stream", layer_map);
}

}  // namespace kvalign
