// Reads options from YAML text. Private to core: options.h has the functions for callers.
#pragma once

#include <string>

#include "kvalign/core/options.h"

namespace kvalign::detail {

/// What errors name: a file, a `--set` or some JSON. Lines are given only where they help.
struct OptionSource {
  std::string name;
  bool has_lines = true;
};

/// Sets the fields that the YAML (a map of options) names. Throws std::invalid_argument.
void read_yaml_text(const DescribeOptions& describe, const std::string& yaml,
                    const OptionSource& source);

}  // namespace kvalign::detail
