// Options of everything that a recipe can set: plain structs whose fields are described once, by
//   void describe(OptionVisitor& visitor);
// Reader of YAML recipes and of `--set a.b=c`, help, `--print-config`, JSON metadata and validation
// all come from that description. Not a command-line parser (tools/ has one), and free of LibTorch.
// JSON is in options_json.h.
//
//   struct MlpOptions {
//     int64_t hidden_size = 1024;
//     double dropout = 0.0;
//     std::string norm = "layer";
//     SplitOptions split;
//     void describe(OptionVisitor& visitor) {
//       visitor.field({"hidden_size", "width between the two layers", /*minimum=*/1}, hidden_size);
//       visitor.field({.name = "dropout", .help = "probability in [0, 1), training only",
//                      .minimum = 0, .maximum = 1, .exclusive_maximum = true}, dropout);
//       visitor.field({.name = "norm", .help = "what the outputs end with",
//                      .one_of = {"layer", "rms", "none"}}, norm);
//       visitor.section("split", "how sequences are divided", split);
//     }
//   };
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

/// What is known of one field. Limits apply to numbers, and to each element of a list of numbers;
/// `one_of` to strings, and to each element of a list of strings.
struct FieldInfo {
  std::string name = {};  ///< key in its section, snake_case
  std::string help = {};  ///< one sentence without the default, which is shown beside it
  std::optional<double> minimum = std::nullopt;
  std::optional<double> maximum = std::nullopt;
  bool exclusive_minimum = false;
  bool exclusive_maximum = false;
  std::vector<std::string> one_of = {};
  bool required = false;  ///< an empty string or list is refused by validate_options
};

/// Sees every field of an options struct, in order. A visitor reads or writes the field.
class KVALIGN_API OptionVisitor {
 public:
  virtual ~OptionVisitor();
  virtual void field(const FieldInfo& info, bool& value) = 0;
  virtual void field(const FieldInfo& info, int64_t& value) = 0;
  virtual void field(const FieldInfo& info, double& value) = 0;
  virtual void field(const FieldInfo& info, std::string& value) = 0;
  virtual void field(const FieldInfo& info, std::vector<int64_t>& value) = 0;
  virtual void field(const FieldInfo& info, std::vector<std::string>& value) = 0;

  /// A nested struct: a map under `name` in the recipe, `name.field` in `--set`.
  template <class Options>
  void section(const std::string& name, const std::string& help, Options& options) {
    enter(name, help);
    options.describe(*this);
    leave();
  }

 protected:
  virtual void enter(const std::string& name, const std::string& help) = 0;
  virtual void leave() = 0;
};

/// The description of one struct, with its type forgotten.
using DescribeOptions = std::function<void(OptionVisitor&)>;

namespace detail {
KVALIGN_API void read_options(const DescribeOptions& describe, const std::string& yaml_path,
                              const std::vector<std::string>& sets);
KVALIGN_API void validate_options(const DescribeOptions& describe);
KVALIGN_API std::string options_to_yaml(const DescribeOptions& describe);
KVALIGN_API std::string options_help(const DescribeOptions& describe);

template <class Options>
DescribeOptions describe_options(Options& options) {
  return [&options](OptionVisitor& visitor) { options.describe(visitor); };
}
}  // namespace detail

/// Reads a YAML recipe (none where `yaml_path` is empty) into `options`, then each `key.path=value`
/// of `sets` in order; the value is parsed as YAML. Fields that are not named keep what they hold;
/// where it throws, all do.
/// Types, limits and choices of what was given are checked; required fields are not
/// (validate_options). Throws std::invalid_argument naming the key, the file and line (or the
/// --set), and what is known.
template <class Options>
void read_options(Options& options, const std::string& yaml_path,
                  const std::vector<std::string>& sets = {}) {
  Options copy = options;
  detail::read_options(detail::describe_options(copy), yaml_path, sets);
  options = std::move(copy);
}

/// Checks limits, choices and required fields of a struct filled by any means.
/// Throws std::invalid_argument naming the dotted key, its value and what is allowed.
template <class Options>
void validate_options(const Options& options) {
  Options copy = options;
  detail::validate_options(detail::describe_options(copy));
}

/// Block YAML in the order of the description. Reading it back gives equal fields, bit for bit,
/// unless validate_options refuses them.
template <class Options>
std::string options_to_yaml(const Options& options) {
  Options copy = options;
  return detail::options_to_yaml(detail::describe_options(copy));
}

/// Two lines a field for `--help`: dotted key, what is allowed and the value held (the default),
/// then the help. Ends with a newline.
template <class Options>
std::string options_help(const Options& options) {
  Options copy = options;
  return detail::options_help(detail::describe_options(copy));
}

}  // namespace kvalign
