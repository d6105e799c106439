// What a recipe's `evaluate` section may say.
#include "kvalign/evaluate/evaluate_options.h"

namespace kvalign {

void EvaluateOptions::describe(OptionVisitor& visitor) {
  visitor.field(
      {"checkpoints",
       "files to evaluate, each a path or name=path; path#128 takes the first 128 "
       "numbers of a latent, path@float8_e4m3fn/token sends the cache in FP8 with a scale a "
       "tensor, head, token, channel or block32; the first is compared with every other "
       "row"},
      checkpoints);
  visitor.field({.name = "baselines",
                 .help = "rows beside them",
                 .one_of = {"mean", "truncate", "pad", "interpolate", "random"}},
                baselines);
  visitor.field({"output", "folder of report.json, .md and .html; empty: they are not written"},
                output);
  visitor.field({"bootstrap_resamples", "of the 95 % intervals", 1}, bootstrap_resamples);
  visitor.field({"worst_tokens", "how many are listed a row", 0}, worst_tokens);
  visitor.field({"batch_tokens", "tokens in memory at once", 1}, batch_tokens);
  visitor.field({"seed", "of the resamples and the random projector", 0}, seed);
}

}  // namespace kvalign
