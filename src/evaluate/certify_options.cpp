// What a recipe's `evaluate.certify` section may say.
#include "kvalign/evaluate/certify_options.h"

#include "kvalign/ops/fp8_wire.h"

namespace kvalign {

void CertifyOptions::describe(OptionVisitor& visitor) {
  visitor.field(
      {"sequences", "held-out sequences whose tokens get certified bounds; 0: no certificates", 0},
      sequences);
  visitor.field(
      {"tokens", "of each, evenly spaced; 0: all of them, which certifying task decisions needs",
       0},
      tokens);
  visitor.field({.name = "wire",
                 .help = "type in which the cache of rows that do not name one is sent",
                 .one_of = fp8_wire_names()},
                wire);
  visitor.field({"receiver",
                 "Hugging Face folder, whose queries attention is bounded for; empty: attention "
                 "is left out"},
                receiver);
  visitor.field({"queries", "last tokens of a sequence whose attention outputs are bounded", 1},
                queries);
  visitor.field({.name = "confidence",
                 .help = "of statistical limits",
                 .minimum = 0,
                 .maximum = 1,
                 .exclusive_minimum = true,
                 .exclusive_maximum = true},
                confidence);
  visitor.field({.name = "max_task_distortion",
                 .help = "exit code 3 unless the task head's errors on true caches plus the upper "
                         "limit of changed decisions stay below; 1: no such gate",
                 .minimum = 0,
                 .maximum = 1},
                max_task_distortion);
}

}  // namespace kvalign
