// Validation, YAML and help of options. Reading them is in options_reader.cpp.
#include "kvalign/core/options.h"

#include <stdexcept>
#include <type_traits>

#include "options_visitor.h"

namespace kvalign {

OptionVisitor::~OptionVisitor() = default;

namespace detail {
namespace {

template <class Value>
constexpr bool can_be_required = !std::is_arithmetic_v<Value>;

class Validator : public VisitorOf<Validator> {
 public:
  template <class Value>
  void visit(const FieldInfo& info, const Value& value) {
    if constexpr (can_be_required<Value>) {
      if (info.required && value.empty()) {
        throw std::invalid_argument("option '" + key(info) + "' is required (" + info.help +
                                    "): set it in the recipe, or with --set " + key(info) +
                                    "=VALUE");
      }
    }
    const std::string problem = problem_of(info, value);
    if (!problem.empty()) throw std::invalid_argument("option '" + key(info) + "': " + problem);
  }
};

class YamlWriter : public VisitorOf<YamlWriter> {
 public:
  template <class Value>
  void visit(const FieldInfo& info, const Value& value) {
    text_ += indent(depth()) + info.name + ": " + yaml_text(value) + "\n";
  }
  void entered(const std::string& name, const std::string&) {
    text_ += indent(depth() - 1) + name + ":\n";
  }
  const std::string& text() const { return text_; }

 private:
  static std::string indent(size_t depth) { return std::string(2 * depth, ' '); }

  std::string text_;
};

// Breaks at spaces; a longer word keeps its line.
std::string wrapped(const std::string& text, const std::string& indent, size_t columns) {
  std::string result;
  std::string line = indent;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (line.size() > indent.size() && line.size() + 1 + end - begin > columns) {
      result += line + "\n";
      line = indent;
    }
    line += (line.size() > indent.size() ? " " : "") + text.substr(begin, end - begin);
    begin = end + 1;
  }
  return result + line + "\n";
}

class HelpWriter : public VisitorOf<HelpWriter> {
 public:
  template <class Value>
  void visit(const FieldInfo& info, const Value& value) {
    std::string held = "default " + yaml_text(value);
    if constexpr (can_be_required<Value>) {
      if (info.required && value.empty()) held = "required";
    }
    text_ +=
        wrapped(key(info) + "  (" + allowed_text(info, value) + "; " + held + ")", "  ", kColumns);
    text_ += wrapped(info.help, "      ", kColumns);
  }
  void entered(const std::string&, const std::string& help) {
    text_ += wrapped(section() + ": " + help, "", kColumns);
  }
  const std::string& text() const { return text_; }

 private:
  static constexpr size_t kColumns = 100;

  std::string text_;
};

}  // namespace

void validate_options(const DescribeOptions& describe) {
  Validator validator;
  describe(validator);
}

std::string options_to_yaml(const DescribeOptions& describe) {
  YamlWriter writer;
  describe(writer);
  return writer.text();
}

std::string options_help(const DescribeOptions& describe) {
  HelpWriter writer;
  describe(writer);
  return writer.text();
}

}  // namespace detail
}  // namespace kvalign
