// Bounded JSON and its members. See the header.
#include "open_inference_json.h"

#include <algorithm>
#include <set>

namespace kvalign::open_inference {
namespace {

constexpr int kMostLevels = 16;
constexpr size_t kMostParameters = 64;
// Members cost the most memory a byte, a hundred times that of their text; and at each object's end
// nlohmann's parser, which is watched, walks over all that its parent holds so far.
constexpr size_t kMostMembers = 4096;

// Refuses, while the text is parsed, what would be costly or ambiguous afterwards.
class Guard {
 public:
  Guard(const std::string& where, JsonArrays arrays) : where_(where), arrays_(arrays) {}

  bool operator()(int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (depth >= kMostLevels) {
      refuse(where_ + ": expected at most " + std::to_string(kMostLevels) +
             " levels of nested arrays and objects, got more");
    }
    if (event == Event::array_start && arrays_ == JsonArrays::kRefused) {
      refuse(where_ + ": expected no arrays");
    }
    if (event == Event::object_start) {
      count();
      members_.emplace_back();
    }
    if (event == Event::object_end) members_.pop_back();
    if (event == Event::key) add_member(parsed);
    return true;
  }

 private:
  void count() {
    if (++count_ > kMostMembers) {
      refuse(where_ + ": expected at most " + std::to_string(kMostMembers) +
             " objects and members in all, got more");
    }
  }

  void add_member(const nlohmann::json& name) {
    count();
    if (!members_.back().insert(name.get<std::string>()).second) {
      refuse(where_ + ": the member " + brief(name) + " comes twice");
    }
  }

  const std::string& where_;
  JsonArrays arrays_;
  std::vector<std::set<std::string>> members_;
  size_t count_ = 0;
};

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

const nlohmann::json& member(const nlohmann::json& object, const std::string& name,
                             const std::string& where) {
  const auto found = object.find(name);
  if (found == object.end()) refuse(where + ": the member \"" + name + "\" is missing");
  return *found;
}

}  // namespace

void refuse(const std::string& text) {
  throw ServeRefusal(400, "invalid", text);
}

void refuse_size(const std::string& text) {
  throw ServeRefusal(413, "too_large", text);
}

std::string text_of(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string brief(const nlohmann::json& value) {
  constexpr size_t kMost = 60;
  if (value.is_array()) return "an array of " + std::to_string(value.size());
  if (value.is_object()) return "an object";
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

nlohmann::json parse_object(std::string_view text, int64_t max_bytes, const std::string& where,
                            JsonArrays arrays) {
  if (text.size() > static_cast<size_t>(max_bytes)) {
    refuse_size(where + ": expected at most " + std::to_string(max_bytes) + " bytes of JSON, got " +
                std::to_string(text.size()) + "; send tensors as binary data");
  }
  nlohmann::json parsed;
  try {
    parsed = nlohmann::json::parse(text.begin(), text.end(), Guard(where, arrays));
  } catch (const nlohmann::json::exception& error) {
    refuse(where + ": expected JSON, got " + std::string(error.what()).substr(0, 200));
  }
  if (!parsed.is_object()) refuse(where + ": expected a JSON object, got " + brief(parsed));
  return parsed;
}

void check_members(const nlohmann::json& object, const std::vector<std::string>& known,
                   const std::string& where) {
  for (const auto& [name, value] : object.items()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    refuse(where + ": unknown member " + brief(name) + "; known: " + joined(known));
  }
}

std::string string_member(const nlohmann::json& object, const std::string& name,
                          const std::string& where) {
  constexpr size_t kMost = 256;
  const nlohmann::json& value = member(object, name, where);
  if (!value.is_string() || value.get_ref<const std::string&>().size() > kMost) {
    refuse(where + ": expected \"" + name + "\" to be a string of at most " +
           std::to_string(kMost) + " bytes, got " + brief(value));
  }
  return value.get<std::string>();
}

const nlohmann::json& array_member(const nlohmann::json& object, const std::string& name,
                                   size_t most, const std::string& where) {
  const nlohmann::json& value = member(object, name, where);
  if (!value.is_array() || value.size() > most) {
    refuse(where + ": expected \"" + name + "\" to be an array of at most " + std::to_string(most) +
           ", got " + brief(value));
  }
  return value;
}

nlohmann::json parameters_of(const nlohmann::json& object, const std::string& where) {
  const auto found = object.find("parameters");
  if (found == object.end()) return nlohmann::json::object();
  if (!found->is_object() || found->size() > kMostParameters) {
    refuse(where + ": expected \"parameters\" to be an object of at most " +
           std::to_string(kMostParameters) + " members, got " + brief(*found));
  }
  for (const auto& [name, value] : found->items()) {
    if (value.is_primitive() && !value.is_null()) continue;
    refuse(where + ": expected the parameter " + brief(name) +
           " to be a string, a number or a boolean, got " + brief(value));
  }
  return *found;
}

std::optional<bool> bool_parameter(const nlohmann::json& parameters, const std::string& name,
                                   const std::string& where) {
  const auto found = parameters.find(name);
  if (found == parameters.end()) return std::nullopt;
  if (!found->is_boolean()) {
    refuse(where + ": expected the parameter \"" + name + "\" to be true or false, got " +
           brief(*found));
  }
  return found->get<bool>();
}

std::optional<int64_t> count_parameter(const nlohmann::json& parameters, const std::string& name,
                                       const std::string& where) {
  constexpr int64_t kMost = int64_t{1} << 53;  // beyond it clients that count in doubles differ
  const auto found = parameters.find(name);
  if (found == parameters.end()) return std::nullopt;
  const bool is_count = found->is_number_unsigned() && found->get<uint64_t>() <= kMost;
  if (!is_count) {
    refuse(where + ": expected the parameter \"" + name + "\" to be an integer from 0 to 2^53, " +
           "got " + brief(*found));
  }
  return found->get<int64_t>();
}

}  // namespace kvalign::open_inference
