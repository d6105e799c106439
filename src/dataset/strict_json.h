// One JSON object whose keys are all known: what index.json and a token file's metadata are read
// with. Internal to dataset/.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace kvalign {

/// Throws std::invalid_argument: "where: what".
[[noreturn]] void refuse(const std::string& where, const std::string& what);

/// What came, for an error: at most 60 characters.
std::string short_text(const nlohmann::json& json);

/// The schema comes before everything else: another one may have other keys. `what` names the file
/// in the error, e.g. "an index".
void check_schema(const nlohmann::json& json, const std::string& where, int64_t schema,
                  const std::string& what);

/// Borrows the JSON. Every member throws std::invalid_argument naming `where` and the key.
class StrictObject {
 public:
  /// Refuses what is no object, an unknown key, and a required one that is missing.
  StrictObject(const nlohmann::json& json, std::string where,
               const std::vector<std::string>& required,
               const std::vector<std::string>& optional = {});

  bool contains(const std::string& key) const { return json_.contains(key); }
  const nlohmann::json& at(const std::string& key) const { return json_.at(key); }
  /// "where: key", which opens an error text.
  std::string path(const std::string& key) const { return where_ + ": " + key; }

  std::string string(const std::string& key) const;
  int64_t count(const std::string& key, int64_t minimum) const;
  std::string sha256(const std::string& key) const;
  std::vector<std::string> sha256_list(const std::string& key) const;
  /// The text of a member that is an object; empty where there is none.
  std::string free_form(const std::string& key) const;

 private:
  const nlohmann::json& json_;
  std::string where_;
};

}  // namespace kvalign
