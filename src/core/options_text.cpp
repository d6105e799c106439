// How option values are checked, and how they are written in YAML and in messages.
#include "options_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace kvalign::detail {
namespace {

// Of a whole number, or of a double in the given format: the fewest digits that read back the same.
template <class... Arguments>
std::string shortest_text(Arguments... arguments) {
  std::array<char, 32> text;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), arguments...).ptr};
}

// A limit of a whole-number field reads "1", not "1.0".
std::string limit_text(double limit) {
  return limit == std::floor(limit) && std::abs(limit) < 1e15
             ? shortest_text(static_cast<int64_t>(limit))
             : yaml_text(limit);
}

std::string range_text(const FieldInfo& info) {
  if (info.minimum && info.maximum) {
    return std::string(" in ") + (info.exclusive_minimum ? "(" : "[") + limit_text(*info.minimum) +
           ", " + limit_text(*info.maximum) + (info.exclusive_maximum ? ")" : "]");
  }
  if (info.minimum) {
    return (info.exclusive_minimum ? " > " : " >= ") + limit_text(*info.minimum);
  }
  if (info.maximum) {
    return (info.exclusive_maximum ? " < " : " <= ") + limit_text(*info.maximum);
  }
  return "";
}

template <class Number>
bool is_in_range(const FieldInfo& info, Number value) {
  // A whole number beyond 2^53 may round here; limits are far smaller.
  const double number = static_cast<double>(value);
  if (info.minimum && (info.exclusive_minimum ? number <= *info.minimum : number < *info.minimum)) {
    return false;
  }
  return !(info.maximum &&
           (info.exclusive_maximum ? number >= *info.maximum : number > *info.maximum));
}

bool is_one_of(const FieldInfo& info, const std::string& value) {
  for (const std::string& choice : info.one_of) {
    if (value == choice) return true;
  }
  return info.one_of.empty();
}

template <class Value>
std::string expected_got(const FieldInfo& info, const Value& value) {
  return "expected " + allowed_text(info, value) + ", got " + yaml_text(value);
}

template <class Element>
std::string problem_of_list(const FieldInfo& info, const std::vector<Element>& value) {
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string problem = problem_of(info, value[i]);
    if (!problem.empty()) return "element " + std::to_string(i) + ": " + problem;
  }
  return "";
}

template <class Element>
std::string yaml_list(const std::vector<Element>& value) {
  std::string text = "[";
  for (const Element& element : value) text += (text.size() > 1 ? ", " : "") + yaml_text(element);
  return text += "]";
}

// YAML 1.1 readers (PyYAML) take these, in any case, for a truth value.
bool is_truth_text(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* word : {"true", "false", "yes", "no", "on", "off", "y", "n"}) {
    if (text == word) return true;
  }
  return false;
}

// Text that every YAML reader takes for a string, in block and in flow context.
bool is_plain(const std::string& text) {
  if (is_null_text(text) || is_truth_text(text)) return false;
  const auto is_letter = [](char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; };
  if (!is_letter(text[0]) && text[0] != '/' && text[0] != '_') return false;
  for (const char c : text) {
    if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '_' && c != '.' && c != '/' && c != '-') {
      return false;
    }
  }
  return text.back() != '.';
}

}  // namespace

std::string join_key(const std::string& section, const std::string& name) {
  return section.empty() ? name : section + "." + name;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

bool is_null_text(const std::string& text) {
  return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

std::string problem_of(const FieldInfo&, bool) {
  return "";
}

std::string problem_of(const FieldInfo& info, int64_t value) {
  return is_in_range(info, value) ? "" : expected_got(info, value);
}

std::string problem_of(const FieldInfo& info, double value) {
  return std::isfinite(value) && is_in_range(info, value) ? "" : expected_got(info, value);
}

std::string problem_of(const FieldInfo& info, const std::string& value) {
  return is_one_of(info, value) ? "" : expected_got(info, value);
}

std::string problem_of(const FieldInfo& info, const std::vector<int64_t>& value) {
  return problem_of_list(info, value);
}

std::string problem_of(const FieldInfo& info, const std::vector<std::string>& value) {
  return problem_of_list(info, value);
}

std::string yaml_text(bool value) {
  return value ? "true" : "false";
}

std::string yaml_text(int64_t value) {
  return shortest_text(value);
}

std::string yaml_text(double value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value > 0 ? ".inf" : "-.inf";
  // YAML 1.1 readers (PyYAML) need the dot to see a number.
  const bool is_near_one = value == 0 || (std::abs(value) >= 1e-4 && std::abs(value) < 1e15);
  std::string text =
      shortest_text(value, is_near_one ? std::chars_format::fixed : std::chars_format::scientific);
  if (text.find('.') == std::string::npos) {
    text.insert(std::min(text.find('e'), text.size()), ".0");
  }
  return text;
}

std::string yaml_text(const std::string& value) {
  if (is_plain(value)) return value;
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      std::array<char, 8> escape;
      std::snprintf(escape.data(), escape.size(), "\\x%02x", static_cast<unsigned>(c));
      text += escape.data();
    } else {
      text += c;
    }
  }
  return text + "\"";
}

std::string yaml_text(const std::vector<int64_t>& value) {
  return yaml_list(value);
}

std::string yaml_text(const std::vector<std::string>& value) {
  return yaml_list(value);
}

std::string allowed_text(const FieldInfo&, bool) {
  return "true or false";
}

std::string allowed_text(const FieldInfo& info, int64_t) {
  return "a whole number" + range_text(info);
}

std::string allowed_text(const FieldInfo& info, double) {
  return "a number" + range_text(info);
}

std::string allowed_text(const FieldInfo& info, const std::string&) {
  return info.one_of.empty() ? "a string" : "one of " + join(info.one_of);
}

std::string allowed_text(const FieldInfo& info, const std::vector<int64_t>&) {
  return "a list of whole numbers" + range_text(info);
}

std::string allowed_text(const FieldInfo& info, const std::vector<std::string>&) {
  return info.one_of.empty() ? "a list of strings" : "a list of " + join(info.one_of);
}

}  // namespace kvalign::detail
