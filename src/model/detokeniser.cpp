// Byte-level BPE writes each byte as a printable character; this turns the characters back into
// bytes. The mapping is GPT-2's bytes_to_unicode (github.com/openai/gpt-2, src/encoder.py).
#include "kvalign/model/detokeniser.h"

#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvalign/core/files.h"

namespace kvalign {
namespace {

using nlohmann::json;

bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

std::string utf8(int code_point) {  // below U+0800, which all of the mapping is
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  return {static_cast<char>(0xc0 | (code_point >> 6)),
          static_cast<char>(0x80 | (code_point & 0x3f))};
}

// UTF-8 of a character to its byte.
std::map<std::string, char> byte_of_character() {
  std::map<std::string, char> bytes;
  int next = 0x100;  // bytes that do not stand for themselves are numbered from here
  for (int byte = 0; byte < 256; ++byte) {
    bytes[utf8(stands_for_itself(byte) ? byte : next++)] = static_cast<char>(byte);
  }
  return bytes;
}

bool has_byte_level_decoder(const json& decoder) {
  if (!decoder.is_object()) return false;
  const std::string type = decoder.value("type", std::string());
  if (type != "Sequence") return type == "ByteLevel";
  for (const json& part : decoder.value("decoders", json::array())) {
    if (has_byte_level_decoder(part)) return true;
  }
  return false;
}

std::string to_bytes(const std::string& token, const std::map<std::string, char>& byte_of,
                     const std::string& where) {
  std::string bytes;
  for (size_t i = 0; i < token.size();) {
    const size_t length = (static_cast<unsigned char>(token[i]) < 0x80) ? 1 : 2;
    const auto found = byte_of.find(token.substr(i, length));
    if (found == byte_of.end()) {
      throw std::invalid_argument(where + ": token \"" + token +
                                  "\": expected characters of byte-level BPE.");
    }
    bytes += found->second;
    i += length;
  }
  return bytes;
}

}  // namespace

Detokeniser Detokeniser::open(const std::filesystem::path& folder) {
  const std::string path = (folder / "tokenizer.json").string();
  const json file = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!file.is_object()) throw std::runtime_error(path + ": expected a JSON object.");
  const json model = file.value("model", json::object());
  if (!model.is_object() || !model.contains("vocab") || !model["vocab"].is_object() ||
      !has_byte_level_decoder(file.value("decoder", json()))) {
    throw std::invalid_argument(path +
                                ": expected a byte-level BPE model (model.vocab, and a "
                                "decoder of type ByteLevel). Others are not supported.");
  }
  Detokeniser detokeniser;
  const std::map<std::string, char> byte_of = byte_of_character();
  // Added tokens first: they stand for themselves, also where the vocabulary has them too.
  for (const json& token : file.value("added_tokens", json::array())) {
    detokeniser.bytes_of_[token.at("id").get<int64_t>()] = token.at("content").get<std::string>();
  }
  for (const auto& [token, id] : model["vocab"].items()) {
    if (!id.is_number_integer()) {
      throw std::invalid_argument(path + ": model.vocab: expected whole numbers, got " + id.dump());
    }
    if (detokeniser.bytes_of_.count(id.get<int64_t>())) continue;
    detokeniser.bytes_of_[id.get<int64_t>()] = to_bytes(token, byte_of, path);
  }
  return detokeniser;
}

std::string Detokeniser::text(const std::vector<int64_t>& token_ids) const {
  std::string text;
  for (const int64_t id : token_ids) {
    const auto found = bytes_of_.find(id);
    if (found == bytes_of_.end()) {
      throw std::invalid_argument("Detokeniser: expected token ids of this tokeniser, got " +
                                  std::to_string(id) + ".");
    }
    text += found->second;
  }
  return text;
}

}  // namespace kvalign
