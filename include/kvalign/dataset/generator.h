// Makes paired caches with known structure, for demonstrations and tests. They are NOT caches of
// real models: they share with them a common cause that both models see, a non-linear view of it,
// heavy tails, outlier channels and a part of the receiver that the sender cannot know.
//
// Shapes: T tokens of a sequence, K shared factors, P private factors, W hidden width (2K), d width
//
//   class      c of a document, uniform
//   shared     z_t = (m + a_t) / sqrt 2 [K]; m ~ N(separation / sqrt 2 * u_c, I) is the document's,
//   u_c a
//              random unit vector of the class; a_t = 0.9 a_{t-1} + sqrt(1 - 0.9^2) N(0, I) over
//              tokens
//   private    p_t [P], made as z_t is, with unit vectors of its own
//   sender     x_t = A tanh(B z_t) + 0.1 e_t                          per stream
//   receiver   y_t = g_t * s * (C gelu(D z_t) + E p_t + 0.1 e_t)      per stream
//   e_t        Student t with 4 degrees of freedom, element by element
//   g_t        a token's magnitude, exp(0.15 N(0, 1))
//   s          scale of a channel: exp(0.2 N(0, 1)), and 4 times that on 1 channel in 256
//
// A to E are random normal, scaled so that B z and D z have variance 0.5, the terms of A and C
// about 1 and that of E 0.25. In the `layers` layout keys also have a constant N(0, 1) a channel
// before the scale s, and the first 4 tokens are attention sinks: keys 3 times larger, values 10
// times smaller.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "kvalign/core/options.h"
#include "kvalign/dataset/dataset_index.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct KVALIGN_API GeneratedGeometry {
  int64_t num_layers = 1;    ///< 1 if flat
  int64_t num_kv_heads = 1;  ///< 1 if flat
  int64_t head_dim = 1;      ///< width of a cache vector if flat; even if layers
  void describe(OptionVisitor& visitor);
};

struct KVALIGN_API GeneratorOptions {
  std::string layout = "flat";  ///< flat or layers
  GeneratedGeometry sender{.head_dim = 512};
  GeneratedGeometry receiver{.head_dim = 4096};
  int64_t num_sequences = 160;
  int64_t tokens_per_sequence = 100;
  int64_t sequences_per_document = 1;  ///< they share class and document factors
  int64_t sequences_per_shard = 40;
  int64_t num_classes = 2;  ///< of the labels; 0 for a dataset without labels
  int64_t shared_factors = 32;
  int64_t private_factors = 16;
  double separation = 3.0;        ///< distance of classes in the factors, in standard deviations
  std::string dtype = "float16";  ///< float16, bfloat16 or float32
  int64_t seed = 1;
  void describe(OptionVisitor& visitor);
};

/// Writes the dataset to `folder`, which must not hold one, and returns its index. The same options
/// give the same bytes on the same machine. `on_sequence`, if given, is called after each sequence
/// with (sequences done, sequences). Throws std::invalid_argument for options that contradict each
/// other.
KVALIGN_API DatasetIndex
generate_paired_dataset(const GeneratorOptions& options, const std::filesystem::path& folder,
                        const std::function<void(int64_t, int64_t)>& on_sequence = nullptr);

}  // namespace kvalign
