// What a server's `drift` section may say.
#include "kvalign/monitor/drift_options.h"

namespace kvalign {

void DriftOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "alpha",
                 .help = "chance of a false alarm in one round, at most",
                 .minimum = 0,
                 .maximum = 1,
                 .exclusive_minimum = true,
                 .exclusive_maximum = true},
                alpha);
  visitor.field({.name = "round_requests",
                 .help = "requests of a round, after which the test begins anew with the reference "
                         "alone; memory and time a request grow with it",
                 .minimum = 1,
                 .maximum = 1000000},
                round_requests);
  visitor.field({.name = "seed", .help = "of the ranks that equal scores get", .minimum = 0}, seed);
}

}  // namespace kvalign
