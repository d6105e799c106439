// Everything that a ladder reads, opened and checked. Private to evaluate/.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kvalign/dataset/split.h"
#include "kvalign/evaluate/evaluate.h"
#include "kvalign/evaluate/ladder_options.h"
#include "kvalign/model/decoder.h"
#include "kvalign/train/recipe.h"
#include "ladder_text.h"
#include "rows.h"

namespace kvalign {

struct LadderSetup {
  Recipe recipe = {};
  EvaluateOptions evaluate = {};
  LadderOptions options = {};
  at::Device device = at::kCPU;
  std::shared_ptr<const PairedDataset> dataset = {};
  Split split = {};
  AlignmentReading alignment = AlignmentReading::kLast;  // of two tokenizers
  Decoder sender, receiver;
  bool one_tokenizer = true;
  std::string tokens_sha256 = {};
  std::vector<LadderText> texts = {};  // held out, long enough, at most options.sequences
  int64_t left_out_seen = 0, left_out_short = 0;
  std::vector<Row> projectors =
      {};  // checkpoints, baselines, mean; the first checkpoint comes first
  std::vector<std::string> warnings = {};

  // The nearest text before `text` of another document, else the nearest one after it.
  size_t other_document(size_t text) const;

  // SHA-256 of the documents that training or validation has seen.
  std::set<std::string> seen_documents() const;
};

// Everything but texts and projectors. Errors: see Ladder::open.
std::unique_ptr<LadderSetup> open_ladder_setup(const Recipe& recipe,
                                               const EvaluateOptions& evaluate,
                                               const LadderOptions& options,
                                               const TokenFile& tokens);

// Checkpoints, baselines and the mean, as the reconstruction has them. Why a baseline is absent is
// said there; what is odd is added to the setup's warnings.
std::vector<Row> load_projectors(LadderSetup& setup, const EvaluateProgress& progress);

// Errors: see Ladder::open.
std::unique_ptr<const LadderSetup> set_up_ladder(const Recipe& recipe,
                                                 const EvaluateOptions& evaluate,
                                                 const LadderOptions& options,
                                                 const EvaluateProgress& progress);

// Names the fields in which two geometries differ, the model's name aside: "head_dim 64 instead of
// 128, rope.theta 10000 instead of 1e+06"; empty where none does.
std::string geometry_differences(const KvGeometry& expected, const KvGeometry& got);

}  // namespace kvalign
