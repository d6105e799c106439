// Python's json.dumps(sort_keys=True): ", " and ": " between, all but ASCII escaped. Keys of
// nlohmann's objects are sorted by UTF-8 bytes, which is the order of code points.
#include "tokeniser_digest.h"

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvalign/core/files.h"
#include "kvalign/core/sha256.h"

namespace kvalign {
namespace {

using nlohmann::json;

std::string ascii_json(const json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/true);
}

void write_as_python(const json& value, std::string& text) {
  if (!value.is_structured()) {
    text += ascii_json(value);
    return;
  }
  const bool object = value.is_object();
  text += object ? '{' : '[';
  bool first = true;
  for (const auto& [key, item] : value.items()) {
    if (!first) text += ", ";
    first = false;
    if (object) text += ascii_json(key) + ": ";
    write_as_python(item, text);
  }
  text += object ? '}' : ']';
}

// What the `tokenizers` package does where there is none.
json no_post_processor() {
  const auto sequence = [](const char* id, int type) {
    return json{{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", json::array({sequence("A", 0)})},
          {"pair", json::array({sequence("A", 0), sequence("B", 1)})},
          {"special_tokens", json::object()}};
}

}  // namespace

std::string tokeniser_digest(const std::filesystem::path& folder) {
  const std::string path = (folder / "tokenizer.json").string();
  json content = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!content.is_object()) throw std::runtime_error(path + ": expected a JSON object");
  content["padding"] = nullptr;
  content["truncation"] = nullptr;
  if (content.value("post_processor", json()).is_null()) {
    content["post_processor"] = no_post_processor();
  }
  std::string text;
  write_as_python(content, text);
  return sha256_hex(text);
}

}  // namespace kvalign
