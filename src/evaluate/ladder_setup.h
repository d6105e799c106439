// Everything that a ladder reads, opened and checked. Private to evaluate/.
#pragma once

#include <memory>
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
};

// Errors: see Ladder::open.
std::unique_ptr<const LadderSetup> set_up_ladder(const Recipe& recipe,
                                                 const EvaluateOptions& evaluate,
                                                 const LadderOptions& options,
                                                 const EvaluateProgress& progress);

// Names the fields in which two geometries differ, the model's name aside: "head_dim 64 instead of
// 128, rope.theta 10000 instead of 1e+06"; empty where none does.
std::string geometry_differences(const KvGeometry& expected, const KvGeometry& got);

}  // namespace kvalign
