// What task success is asked for: a task file, and how an answer is chosen. The recipe's `task`
// section; models, sinks, wire and gate_tokens are those of `ladder`, checkpoints, baselines, seed
// and output those of `evaluate`.
#pragma once

#include <cstdint>
#include <string>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct KVALIGN_API TaskSuccessOptions {
  std::string file;              ///< task file; empty: no task
  int64_t texts = 0;             ///< the first so many held-out ones; 0: all
  std::string answer = "mean";   ///< which class is the answer
  std::string text_classifiers;  ///< JSON of scripts/task_baselines.py; empty: none

  void describe(OptionVisitor& visitor);
};

}  // namespace kvalign
