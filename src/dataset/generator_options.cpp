// The description of the generator's options; apart from the generator to keep both short.
#include "kvalign/dataset/generator.h"

namespace kvalign {

void GeneratedGeometry::describe(OptionVisitor& visitor) {
  visitor.field({.name = "num_layers", .help = "1 if flat", .minimum = 1}, num_layers);
  visitor.field({.name = "num_kv_heads", .help = "1 if flat", .minimum = 1}, num_kv_heads);
  visitor.field(
      {.name = "head_dim", .help = "width of a cache vector if flat, even if layers", .minimum = 1},
      head_dim);
}

void GeneratorOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "layout",
                 .help = "one cache vector a token, or keys and values of layers",
                 .one_of = {"flat", "layers"}},
                layout);
  visitor.section("sender", "geometry of the cache that is read", sender);
  visitor.section("receiver", "geometry of the cache that is to be produced", receiver);
  visitor.field({.name = "num_sequences", .help = "sequences of the dataset", .minimum = 1},
                num_sequences);
  visitor.field({.name = "tokens_per_sequence", .help = "tokens of each", .minimum = 1},
                tokens_per_sequence);
  visitor.field({.name = "sequences_per_document",
                 .help = "sequences that share the factors of one document",
                 .minimum = 1},
                sequences_per_document);
  visitor.field({.name = "sequences_per_shard", .help = "sequences of one file", .minimum = 1},
                sequences_per_shard);
  visitor.field({.name = "num_classes", .help = "classes of the labels, 0 for none", .minimum = 0},
                num_classes);
  visitor.field(
      {.name = "shared_factors", .help = "latent factors that both caches depend on", .minimum = 1},
      shared_factors);
  visitor.field(
      {.name = "private_factors", .help = "latent factors of the receiver alone", .minimum = 1},
      private_factors);
  visitor.field({.name = "separation",
                 .help = "distance of classes in the factors, in standard deviations",
                 .minimum = 0},
                separation);
  visitor.field({.name = "dtype",
                 .help = "how the caches are stored",
                 .one_of = {"float16", "bfloat16", "float32"}},
                dtype);
  visitor.field({.name = "seed", .help = "of everything random"}, seed);
}

}  // namespace kvalign
