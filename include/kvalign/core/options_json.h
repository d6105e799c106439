// JSON of an options struct, for the metadata of checkpoints and for reports. See options.h, which
// holds everything else; this file is apart because nlohmann's header is slow to compile.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "kvalign/core/options.h"

namespace kvalign {

namespace detail {
KVALIGN_API nlohmann::json options_to_json(const DescribeOptions& describe);
KVALIGN_API void options_from_json(const DescribeOptions& describe, const nlohmann::json& json,
                                   const std::string& source);
}  // namespace detail

/// A JSON object with one member a field or section.
template <class Options>
nlohmann::json options_to_json(const Options& options) {
  Options copy = options;
  return detail::options_to_json(detail::describe_options(copy));
}

/// The inverse of options_to_json: fields that are not named keep what they hold. `source` is named
/// in errors. Throws std::invalid_argument as read_options does.
template <class Options>
void options_from_json(Options& options, const nlohmann::json& json,
                       const std::string& source = "JSON options") {
  Options copy = options;
  detail::options_from_json(detail::describe_options(copy), json, source);
  options = std::move(copy);
}

}  // namespace kvalign
