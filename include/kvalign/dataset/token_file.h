// A token file: the sequences that two models read, made by scripts/tokenise.py. One safetensors
// file, so that C++ needs no tokeniser. Capture and the ladder read it.
//
//   token_ids [T] I32, token_ends [T] I32, sequence_offsets [S + 1] I64   both models alike, or
//   sender.token_ids, sender.token_ends, sender.sequence_offsets, receiver. ...   two tokenisers
//   document_ids [S] I64, optional labels [S] I64
//   metadata `kvalign`: {"schema": 1, "created_by", "tokenizers": {"sender", "receiver"} (SHA-256),
//   "documents": [SHA-256 of each document's text, by id], "source": {}}
//
// token_ends: UTF-8 bytes from the start of the sequence's text to the end of the token's span; it
// never decreases. Both sides of a sequence cover the same text: their last ends are equal.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kvalign/dataset/alignment.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// The tokens of one sequence as one of the models reads it.
struct TokenSequence {
  at::Tensor token_ids;  ///< [T] int32
  at::Tensor ends;       ///< [T] int32
};

/// All sequences of one side, packed.
struct KVALIGN_API TokenSide {
  std::string tokenizer_sha256;
  at::Tensor token_ids, ends;    ///< [T] int32
  std::vector<int64_t> offsets;  ///< [S + 1]
  /// Views. Throws c10::Error for a sequence that does not exist.
  TokenSequence sequence(int64_t number) const;
};

struct KVALIGN_API TokenFile {
  std::string path;
  TokenSide sender, receiver;  ///< equal where both models have one tokeniser
  bool one_tokenizer = true;
  std::vector<int64_t> documents;            ///< [S] ids
  std::vector<std::string> document_sha256;  ///< by id
  std::vector<int64_t> labels;               ///< [S] or empty
  std::string source;                        ///< JSON object, free-form
  int64_t num_sequences() const { return static_cast<int64_t>(documents.size()); }
  /// align_tokens of one sequence; undefined where both models have one tokeniser.
  at::Tensor alignment(int64_t sequence) const;
};

/// Checks every rule above. Throws c10::Error or std::invalid_argument naming the file, the tensor
/// or key, what was expected and what came.
KVALIGN_API TokenFile read_token_file(const std::filesystem::path& path);

}  // namespace kvalign
