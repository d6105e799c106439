// What a recipe says about a projector: its kind, and what the kinds need to know.
#pragma once

#include <cstdint>
#include <string>

#include "kvalign/format/export.h"
#include "kvalign/projector/layer_map.h"

namespace kvalign {

class OptionVisitor;

struct KVALIGN_API ProjectorOptions {
  std::string kind = "linear_residual";  // one of projector_kinds()
  // layer, rms, none, or auto: layer for a flat cache of linear_residual and mlp; else none: the
  // caches of models are not outputs of a LayerNorm.
  std::string norm = "auto";
  double norm_epsilon = 1e-5;  // added to the variance, as in torch.nn.LayerNorm
  int64_t hidden_size = 1024;  // mlp: width between its maps, for each stream; residual_mlp: group
  int64_t rank = 512;          // low_rank and autoencoder: numbers of the latent
  std::string latent_wire = "float8_e4m3fn";  // low_rank: type in which the latent is sent
  std::string compress_weights = "mean_one";  // bidirectional: mean_one or sum_one, compress.h
  bool standardise_features = true;           // features reach the projector with mean 0, scale 1
  bool standardise_targets = true;  // outputs start with the mean and scale of the targets
  int64_t seed = 1;                 // of the initial weights
  LayerMapOptions layer_map = {};

  void describe(OptionVisitor& visitor);
};

}  // namespace kvalign
