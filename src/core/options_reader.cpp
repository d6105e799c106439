// Reads options from YAML recipes and from `--set key.path=value`. Knows no option by name: each is
// described by its struct. Checks of values are in options_text.cpp.
#include "options_reader.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "kvalign/core/files.h"
#include "options_visitor.h"

namespace kvalign::detail {
namespace {

[[noreturn]] void fail(const OptionSource& source, const YAML::Mark& mark,
                       const std::string& what) {
  const bool has_line = source.has_lines && !mark.is_null();
  throw std::invalid_argument(source.name + (has_line ? ":" + std::to_string(mark.line + 1) : "") +
                              ": " + what);
}

// Number of inserted, deleted and replaced letters (Levenshtein).
size_t edit_distance(const std::string& from, const std::string& to) {
  std::vector<size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < from.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < to.size(); ++j) {
      const size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

// Every key of a description, a section's as well as a field's.
class KeyCollector : public VisitorOf<KeyCollector> {
 public:
  template <class Value>
  void visit(const FieldInfo& info, const Value&) {
    add(section(), info.name);
  }
  void entered(const std::string& name, const std::string&) { add(parent_section(), name); }
  const std::vector<std::string>& names(const std::string& section) { return names_[section]; }

  // The likeliest meaning of an unknown name: a slip of the pen, else the same name elsewhere.
  std::string nearest(const std::string& section, const std::string& name) {
    std::string best;
    size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
    for (const std::string& known : names_[section]) {
      const size_t distance = edit_distance(name, known);
      if (distance < best_distance) {
        best = join_key(section, known);
        best_distance = distance;
      }
    }
    if (!best.empty()) return best;
    for (const auto& [other, known] : names_) {
      if (std::find(known.begin(), known.end(), name) != known.end()) return join_key(other, name);
    }
    return "";
  }

 private:
  void add(const std::string& section, const std::string& name) { names_[section].push_back(name); }

  std::map<std::string, std::vector<std::string>> names_;
};

std::string described(const YAML::Node& node) {
  if (node.IsMap()) return "a map";
  if (node.IsSequence()) return "a list";
  if (node.IsNull()) return "nothing";
  return "'" + node.Scalar() + "'";
}

// Quoted text is a string, whatever it looks like: yaml-cpp tags it "!".
bool is_plain_scalar(const YAML::Node& node) {
  return node.IsScalar() && node.Tag() == "?";
}

template <class Number>
bool parse_number(const YAML::Node& node, Number& value) {
  const std::string& text = node.Scalar();
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return is_plain_scalar(node) && result.ec == std::errc() && result.ptr == end;
}

bool parse(const YAML::Node& node, bool& value) {
  value = node.IsScalar() && node.Scalar() == "true";
  return is_plain_scalar(node) && (value || node.Scalar() == "false");
}
bool parse(const YAML::Node& node, int64_t& value) {
  return parse_number(node, value);
}
bool parse(const YAML::Node& node, double& value) {
  return parse_number(node, value);
}
bool parse(const YAML::Node& node, std::string& value) {
  if (!node.IsScalar()) return false;
  value = node.Scalar();
  return true;
}

class Reader : public VisitorOf<Reader> {
 public:
  Reader(const YAML::Node& root, const OptionSource& source, KeyCollector& keys)
      : source_(source), keys_(keys) {
    open_map(root);
  }

  template <class Value>
  void visit(const FieldInfo& info, Value& value) {
    if (!maps_.back()) return;
    const auto found = maps_.back()->find(info.name);
    if (found == maps_.back()->end()) return;
    const YAML::Node& node = found->second;
    value = read(info, node, value);
    const std::string problem = problem_of(info, value);
    if (!problem.empty()) fail(source_, node.Mark(), "option '" + key(info) + "': " + problem);
  }

  void entered(const std::string& name, const std::string&) {
    if (maps_.back() && maps_.back()->contains(name)) {
      open_map(maps_.back()->at(name));
    } else {
      maps_.emplace_back();
    }
  }
  void leaving() { maps_.pop_back(); }

 private:
  using Map = std::map<std::string, YAML::Node>;

  void open_map(const YAML::Node& node) {
    if (!node.IsMap()) {
      const std::string where = section().empty() ? "" : "option '" + section() + "': ";
      fail(source_, node.Mark(),
           where + "expected a map of options (" + join(keys_.names(section())) + "), got " +
               described(node));
    }
    Map map;
    for (const auto& entry : node) {
      const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "";
      const std::string full_name = join_key(section(), name);
      const std::vector<std::string>& known = keys_.names(section());
      if (std::find(known.begin(), known.end(), name) == known.end()) {
        fail_unknown(entry.first, name);
      }
      if (!map.emplace(name, entry.second).second) {
        fail(source_, entry.first.Mark(), "option '" + full_name + "' is given twice");
      }
    }
    maps_.emplace_back(std::move(map));
  }

  [[noreturn]] void fail_unknown(const YAML::Node& node, const std::string& name) {
    const std::string shown = name.empty() ? described(node) : join_key(section(), name);
    const std::string nearest = keys_.nearest(section(), name);
    fail(source_, node.Mark(),
         "unknown option '" + shown + "'" +
             (nearest.empty() ? "." : "; did you mean '" + nearest + "'?") + " Known" +
             (section().empty() ? "" : " in '" + section() + "'") + ": " +
             join(keys_.names(section())));
  }

  template <class Value>
  Value read(const FieldInfo& info, const YAML::Node& node, const Value& held) {
    Value value = held;
    if (!parse(node, value)) fail_type(info, node, allowed_text(info, held), "");
    return value;
  }

  template <class Element>
  std::vector<Element> read(const FieldInfo& info, const YAML::Node& node,
                            const std::vector<Element>& held) {
    if (!node.IsSequence()) fail_type(info, node, allowed_text(info, held), "");
    std::vector<Element> value(node.size());
    for (size_t i = 0; i < value.size(); ++i) {
      if (!parse(node[i], value[i])) {
        fail_type(info, node[i], allowed_text(info, value[i]),
                  "element " + std::to_string(i) + ": ");
      }
    }
    return value;
  }

  [[noreturn]] void fail_type(const FieldInfo& info, const YAML::Node& node,
                              const std::string& expected, const std::string& element) {
    fail(source_, node.Mark(),
         "option '" + key(info) + "': " + element + "expected " + expected + ", got " +
             described(node));
  }

  const OptionSource& source_;
  KeyCollector& keys_;
  std::vector<std::optional<Map>> maps_;  // of the sections that we are in; nullopt: not given
};

YAML::Node parse_yaml(const std::string& yaml, const OptionSource& source) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(yaml);
    if (documents.size() > 1) {
      fail(source, documents[1].Mark(),
           "expected one YAML document, got " + std::to_string(documents.size()));
    }
    return documents.empty() ? YAML::Node() : documents[0];
  } catch (const YAML::Exception& error) {
    fail(source, error.mark, "not YAML: " + error.msg);
  }
}

void read_node(const DescribeOptions& describe, const YAML::Node& node,
               const OptionSource& source) {
  KeyCollector keys;
  describe(keys);
  Reader reader(node, source, keys);
  describe(reader);
}

std::string read_recipe(const std::string& path) {
  try {
    return read_file(path);
  } catch (const std::runtime_error& error) {
    throw std::invalid_argument(std::string("recipe: ") + error.what());
  }
}

// "a.b=c" as the map {a: {b: c}}.
YAML::Node node_of_set(const std::string& set, const OptionSource& source) {
  const size_t equals = set.find('=');
  if (equals == std::string::npos) {
    fail(source, YAML::Mark::null_mark(), "expected key.path=value, got no '='");
  }
  const std::string path = set.substr(0, equals);
  const std::string text = set.substr(equals + 1);
  YAML::Node node = parse_yaml(text, source);
  if (text.empty()) node = parse_yaml("''", source);  // `--set name=` empties a string
  for (size_t end = path.size();;) {
    const size_t dot = end == 0 ? std::string::npos : path.rfind('.', end - 1);
    const size_t begin = dot == std::string::npos ? 0 : dot + 1;
    if (begin == end) {
      fail(source, YAML::Mark::null_mark(), "empty name in the key '" + path + "'");
    }
    YAML::Node outer;
    outer[path.substr(begin, end - begin)] = node;
    node.reset(outer);
    if (begin == 0) return node;
    end = dot;
  }
}

}  // namespace

void read_yaml_text(const DescribeOptions& describe, const std::string& yaml,
                    const OptionSource& source) {
  read_node(describe, parse_yaml(yaml, source), source);
}

void read_options(const DescribeOptions& describe, const std::string& yaml_path,
                  const std::vector<std::string>& sets) {
  if (!yaml_path.empty()) {
    read_yaml_text(describe, read_recipe(yaml_path), {.name = yaml_path});
  }
  for (const std::string& set : sets) {
    const OptionSource source = {.name = "--set " + set, .has_lines = false};
    read_node(describe, node_of_set(set, source), source);
  }
}

}  // namespace kvalign::detail
