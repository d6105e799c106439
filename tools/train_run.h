// What the subcommands that train have in common: the display, interruption and how the result is
// told.
#pragma once

#include <functional>
#include <string>

#include "command.h"
#include "kvalign/train/distiller.h"

namespace kvalign::tools {

/// Runs `train` with a display of its own and stops it at SIGINT or SIGTERM; prints what came of it
/// and gives the exit code. `name` is the subcommand's.
int run_training(const std::string& name, const Recipe& recipe, const Flags& flags, bool resume,
                 const std::function<DistillResult(const DistillControl&)>& train);

}  // namespace kvalign::tools
