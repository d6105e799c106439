// Divides the sequences of a dataset into training, validation and test parts. By sequence, never
// by token, and by document where the dataset knows documents: text of one never falls in two
// parts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/core/options.h"
#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct KVALIGN_API SplitOptions {
  double validation = 0.1;  ///< fraction of the sequences
  double test = 0.1;        ///< fraction of the sequences
  int64_t seed = 1;
  void describe(OptionVisitor& visitor);
};

/// Sequence numbers, each list ascending; every sequence is in exactly one.
struct Split {
  std::vector<int64_t> train, validation, test;
  std::string sha256;  ///< of the three lists and the dataset's SHA-256
};

/// Documents are shuffled by the seed. The validation part takes each document that brings it
/// nearer to its fraction of the sequences, then the test part does, and training gets the rest; a
/// part that no document suits takes the smallest one left. Depends only on the options and on the
/// document of each sequence. Throws c10::Error where the fractions leave nothing to train on, or
/// where there are fewer documents than parts.
KVALIGN_API Split split_by_sequence(const PairedDataset& dataset, const SplitOptions& options);

}  // namespace kvalign
