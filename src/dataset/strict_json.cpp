// Checks of JSON objects, one text for each way to be wrong.
#include "strict_json.h"

#include <algorithm>
#include <stdexcept>

namespace kvalign {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string sha256_from(const nlohmann::json& json, const std::string& where) {
  const std::string text = json.is_string() ? json.get<std::string>() : "";
  if (text.size() != 64 || text.find_first_not_of("0123456789abcdef") != std::string::npos) {
    refuse(where, "expected 64 lower-case hexadecimal digits, got " + short_text(json));
  }
  return text;
}

}  // namespace

void refuse(const std::string& where, const std::string& what) {
  throw std::invalid_argument(where + ": " + what);
}

std::string short_text(const nlohmann::json& json) {
  const std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

void check_schema(const nlohmann::json& json, const std::string& where, int64_t schema,
                  const std::string& what) {
  if (!json.is_object()) refuse(where, "expected an object, got " + short_text(json));
  if (json.contains("schema") && json.at("schema") == schema) return;
  std::string text = "expected \"schema\": ";
  text.append(std::to_string(schema))
      .append(", got ")
      .append(json.contains("schema") ? short_text(json.at("schema")) : "none")
      .append(". Is it ")
      .append(what)
      .append(" of a newer version, or of something else?");
  refuse(where, text);
}

StrictObject::StrictObject(const nlohmann::json& json, std::string where,
                           const std::vector<std::string>& required,
                           const std::vector<std::string>& optional)
    : json_(json), where_(std::move(where)) {
  if (!json.is_object()) refuse(where_, "expected an object, got " + short_text(json));
  std::vector<std::string> known = required;
  known.insert(known.end(), optional.begin(), optional.end());
  for (const auto& [key, value] : json.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      refuse(where_, "unknown key \"" + key + "\"; known: " + joined(known) +
                         ". Was it written by a newer version?");
    }
  }
  for (const std::string& key : required) {
    if (!json.contains(key)) refuse(where_, "missing key \"" + key + "\"");
  }
}

std::string StrictObject::string(const std::string& key) const {
  if (!at(key).is_string()) refuse(path(key), "expected a string, got " + short_text(at(key)));
  return at(key).get<std::string>();
}

int64_t StrictObject::count(const std::string& key, int64_t minimum) const {
  // Larger counts are no dataset, and sums of them would overflow.
  constexpr int64_t kMaximum = int64_t{1} << 48;
  const nlohmann::json& value = at(key);
  if (!value.is_number_integer() || value > kMaximum || value < minimum) {
    std::string text = "expected an integer of at least ";
    text.append(std::to_string(minimum)).append(", got ").append(short_text(value));
    refuse(path(key), text);
  }
  return value.get<int64_t>();
}

std::string StrictObject::sha256(const std::string& key) const {
  return sha256_from(at(key), path(key));
}

std::vector<std::string> StrictObject::sha256_list(const std::string& key) const {
  const nlohmann::json& list = at(key);
  if (!list.is_array()) refuse(path(key), "expected a list, got " + short_text(list));
  std::vector<std::string> result;
  for (const nlohmann::json& element : list) {
    result.push_back(sha256_from(element, path(key) + "[" + std::to_string(result.size()) + "]"));
  }
  return result;
}

std::string StrictObject::free_form(const std::string& key) const {
  if (!contains(key)) return "";
  if (!at(key).is_object()) refuse(path(key), "expected an object, got " + short_text(at(key)));
  return at(key).dump();
}

}  // namespace kvalign
