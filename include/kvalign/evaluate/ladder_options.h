// What the ladder is asked for: two models, the tokens they read, and which rows are run. The
// recipe's `ladder` section; checkpoints, baselines, seed and output are those of `evaluate`.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct KVALIGN_API LadderOptions {
  std::string sender, receiver;  ///< Hugging Face folders
  std::string tokens;            ///< token file; empty: no ladder
  int64_t sequences = 0;         ///< the first so many held-out ones; 0: all
  int64_t prefix_tokens = 256;
  int64_t continuation_tokens = 64;
  int64_t sinks = 4;
  std::vector<int64_t> reread = {0, 16, 64};
  std::string grid = "full";
  std::string wire = "float16";
  std::string judge;  ///< name of a checkpoint
  int64_t gate_tokens = 1000;

  void describe(OptionVisitor& visitor);
};

/// What limits of single fields do not say. Throws std::invalid_argument for missing folders, a
/// reread that lacks 0, is not ascending or leaves nothing between the sinks and it.
KVALIGN_API void check_ladder_options(const LadderOptions& options);

/// The dtype that `options.wire` names.
KVALIGN_API at::ScalarType wire_dtype(const LadderOptions& options);

}  // namespace kvalign
