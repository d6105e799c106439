// What the reader, the validator and the printer of options share: how values are checked, and how
// they are written in YAML and in messages. Private to core.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/core/options.h"

namespace kvalign::detail {

/// "projector.mlp" + "hidden_size"; the outermost section is "".
std::string join_key(const std::string& section, const std::string& name);

/// Why a value is not allowed ("expected a number >= 1, got 0"), or "" where it is.
std::string problem_of(const FieldInfo& info, bool value);
std::string problem_of(const FieldInfo& info, int64_t value);
std::string problem_of(const FieldInfo& info, double value);
std::string problem_of(const FieldInfo& info, const std::string& value);
std::string problem_of(const FieldInfo& info, const std::vector<int64_t>& value);
std::string problem_of(const FieldInfo& info, const std::vector<std::string>& value);

/// The value in YAML, on one line. Doubles are the shortest text that reads back to the same bits.
std::string yaml_text(bool value);
std::string yaml_text(int64_t value);
std::string yaml_text(double value);
std::string yaml_text(const std::string& value);
std::string yaml_text(const std::vector<int64_t>& value);
std::string yaml_text(const std::vector<std::string>& value);

/// "a whole number >= 1", "one of layer, rms, none", "true or false": the type and what is allowed.
std::string allowed_text(const FieldInfo& info, bool value);
std::string allowed_text(const FieldInfo& info, int64_t value);
std::string allowed_text(const FieldInfo& info, double value);
std::string allowed_text(const FieldInfo& info, const std::string& value);
std::string allowed_text(const FieldInfo& info, const std::vector<int64_t>& value);
std::string allowed_text(const FieldInfo& info, const std::vector<std::string>& value);

/// "a, b, c"
std::string join(const std::vector<std::string>& words);

/// Whether YAML readers take the plain text for null.
bool is_null_text(const std::string& text);

}  // namespace kvalign::detail
