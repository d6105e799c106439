// Makes token files for tests: random tokens with spans, of one tokeniser or of two.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kvalign/core/random.h"
#include "kvalign/core/safetensors.h"

namespace kvalign {

struct TestTokens {
  std::vector<NamedTensor> tensors;
  nlohmann::json metadata;

  at::Tensor& tensor(const std::string& name) {
    return std::find_if(tensors.begin(), tensors.end(),
                        [&](const NamedTensor& tensor) { return tensor.name == name; })
        ->tensor;
  }
  void erase(const std::string& name) {
    std::erase_if(tensors, [&](const NamedTensor& tensor) { return tensor.name == name; });
  }
  void write(const std::string& path) const {
    write_safetensors(path, tensors, {{"kvalign", metadata.dump()}});
  }
};

/// A side whose sequence i has `lengths[i]` tokens and ends at byte `text_bytes`.
inline void add_test_side(TestTokens& tokens, const std::string& prefix,
                          const std::vector<int64_t>& lengths, int32_t text_bytes,
                          int64_t vocabulary, Random& random) {
  std::vector<int32_t> ids, ends;
  std::vector<int64_t> offsets = {0};
  for (const int64_t length : lengths) {
    std::vector<int32_t> spans;
    for (int64_t i = 0; i < length; ++i) {
      ids.push_back(static_cast<int32_t>(random.below(vocabulary)));
      spans.push_back(static_cast<int32_t>(random.below(text_bytes)));
    }
    std::sort(spans.begin(), spans.end());
    spans.back() = text_bytes;
    ends.insert(ends.end(), spans.begin(), spans.end());
    offsets.push_back(offsets.back() + length);
  }
  tokens.tensors.push_back({prefix + "token_ids", at::tensor(ids, at::kInt)});
  tokens.tensors.push_back({prefix + "token_ends", at::tensor(ends, at::kInt)});
  tokens.tensors.push_back({prefix + "sequence_offsets", at::tensor(offsets, at::kLong)});
}

/// Sequences of these lengths; two neighbours share a document. `sender_lengths` empty: one
/// tokeniser.
inline TestTokens make_test_tokens(const std::vector<int64_t>& lengths, int64_t vocabulary,
                                   const std::vector<int64_t>& sender_lengths = {}) {
  TestTokens tokens;
  Random random(7);
  const bool one = sender_lengths.empty();
  const int32_t text_bytes = 40;
  if (!one) add_test_side(tokens, "sender.", sender_lengths, text_bytes, vocabulary, random);
  add_test_side(tokens, one ? "" : "receiver.", lengths, text_bytes, vocabulary, random);
  std::vector<int64_t> documents;
  std::vector<std::string> hashes;
  for (size_t i = 0; i < lengths.size(); ++i) {
    documents.push_back(static_cast<int64_t>(i / 2));
    if (i % 2 == 0) hashes.emplace_back(64, static_cast<char>('a' + i / 2 % 6));
  }
  tokens.tensors.push_back({"document_ids", at::tensor(documents, at::kLong)});
  const std::string first(64, '1'), second(64, '2');
  tokens.metadata = {{"schema", 1},
                     {"created_by", "test"},
                     {"tokenizers", {{"sender", one ? first : second}, {"receiver", first}}},
                     {"documents", hashes},
                     {"source", {{"seed", 7}}}};
  return tokens;
}

}  // namespace kvalign
