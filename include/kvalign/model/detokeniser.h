// Token ids back to text, for people to look at: the decoding half of a byte-level BPE tokeniser.
// Encoding is left to the official `tokenizers` package (scripts/tokenise.py).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

class KVALIGN_API Detokeniser {
 public:
  /// Reads `folder`/tokenizer.json. Throws std::runtime_error where it is missing or no JSON, and
  /// std::invalid_argument naming the entry where it is not a byte-level BPE model (GPT-2, Llama 3,
  /// Qwen, SmolLM).
  static Detokeniser open(const std::filesystem::path& folder);

  /// UTF-8 as far as the tokens are: a character cut in two gives its bytes. Added tokens (special
  /// ones too) give their content. Throws std::invalid_argument for an id that the tokeniser lacks.
  std::string text(const std::vector<int64_t>& token_ids) const;

 private:
  std::unordered_map<int64_t, std::string> bytes_of_;
};

}  // namespace kvalign
