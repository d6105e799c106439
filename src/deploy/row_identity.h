// Whether a token's projection has the same bits in whatever batch it is. A library of matrix
// products takes another kernel for a few rows than for many, and may sum in another order. Private
// to deploy/.
#pragma once

#include <cstdint>

namespace kvalign {

struct ServedModel;

/// The smallest number of tokens from which on, up to `max_tokens`, batches were found to give each
/// row the bits that it has among max_tokens; max_tokens where none does. Found out with random
/// rows on this machine, at every size up to 16 and some beyond: measured, not proved.
int64_t identical_from_tokens(const ServedModel& model, int64_t max_tokens);

}  // namespace kvalign
