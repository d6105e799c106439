// What a recipe's `plan` section may say.
#include "kvalign/evaluate/plan.h"
#include "kvalign/ops/fp8_wire.h"

namespace kvalign {

void PlanOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "sender",
                 .help = "Hugging Face folder of the sender; its config.json is enough",
                 .required = true},
                sender);
  visitor.field({.name = "receiver",
                 .help = "Hugging Face folder of the receiver; its config.json is enough",
                 .required = true},
                receiver);
  visitor.field(
      {"checkpoint",
       "a projector of the two; empty: maps from all sender layers to all receiver layers"},
      checkpoint);
  visitor.field({"latent_numbers",
                 "numbers a token that are sent as latents; a low_rank checkpoint has its own", 1},
                latent_numbers);
  visitor.field({.name = "latent_wire",
                 .help = "type in which they are sent; a low_rank checkpoint has its own",
                 .one_of = {"float32", "float16", "float8_e4m3fn"}},
                latent_wire);
  visitor.field({.name = "cache_wire",
                 .help = "type in which a cache is sent, and what shares a scale",
                 .one_of = fp8_wire_names()},
                cache_wire);
  visitor.field({"sinks", "first tokens that the receiver computes itself", 0}, sinks);
  visitor.field({.name = "prompt_tokens",
                 .help = "lengths of the prompts that are compared",
                 .minimum = 2,
                 .required = true},
                prompt_tokens);
  visitor.field({.name = "text_bytes_per_token",
                 .help = "UTF-8 bytes of a token",
                 .minimum = 0,
                 .exclusive_minimum = true},
                text_bytes_per_token);
  visitor.field({"tokens", "token file whose mean is taken for text_bytes_per_token; empty: none"},
                tokens);
  visitor.field({"output", "folder of plan.json, plan.md and the plots; empty: none"}, output);
}

}  // namespace kvalign
