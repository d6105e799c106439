// A whole ladder in a folder: two tiny random decoders, a dataset captured from them, a token file
// of held-out documents, and a checkpoint. Runs in a fraction of a second.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kvalign/core/random.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/evaluate/ladder.h"
#include "tests/support/decoder_folder.h"

namespace kvalign::testing {

constexpr int64_t kVocabulary = 64;

struct TinySide {
  at::Tensor token_ids, ends;  // int32 [T]
};

/// Random tokens of one sequence; `ends` strictly rise to `bytes`.
TinySide tiny_side(int64_t num_tokens, int64_t bytes, Random& random);

struct TinyText {
  TinySide sender, receiver;
  int64_t document = 0;
};

class TinyLadder {
 public:
  static constexpr int64_t kTokens = 24, kSenderTokens = 31, kBytes = 70;

  /// Names of tests/golden/decoder. 10 documents of 2 sequences are captured; the token file holds
  /// one document of the training split, one of the test split and 3 new ones, 2 sequences each.
  TinyLadder(const std::string& sender, const std::string& receiver, bool one_tokenizer = true);

  Ladder open() const { return Ladder::open(recipe, evaluate, options); }

  /// A linear map: random, or the identity for two equal geometries.
  void save_checkpoint_of(bool identity);

  /// A random projector through a latent of `rank` bytes a token; returns its path.
  std::string save_low_rank_checkpoint(int64_t rank);

  /// A projector that goes both ways, as save_checkpoint_of; returns its path.
  std::string save_bidirectional_checkpoint(bool identity);

  /// Rewrites the token file with changed metadata.
  void edit_metadata(const std::function<void(nlohmann::json&)>& edit);

  TemporaryFolder folder;
  Recipe recipe;
  EvaluateOptions evaluate;
  LadderOptions options;

 private:
  TinyText text(int64_t document);
  std::string save(const std::string& file, const ProjectorOptions& options, bool identity);
  std::string tokenizer(const std::string& side) const;
  void capture();
  void write_tokens();
  void add_side(const std::string& prefix, const std::vector<TinyText>& texts,
                TinySide TinyText::*side);

  bool one_tokenizer_;
  Random random_{11};
  std::vector<NamedTensor> tensors_;
  nlohmann::json metadata_;
};

/// Of all rows, in order.
std::vector<std::string> names_of(const LadderReport& report);

/// Throws std::runtime_error where the report has no such row.
const LadderRow& row_of(const LadderReport& report, const std::string& name);

}  // namespace kvalign::testing
