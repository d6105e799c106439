// The gathering of sender rows by an alignment, without tensors: what reading a dataset and
// read_aligned share. Internal to dataset/.
//
// Shapes: U sender tokens of a sequence, T receiver tokens, d width
#pragma once

#include <cstdint>
#include <string>

#include "kvalign/dataset/alignment.h"

namespace kvalign {

/// Tokens [first, first + count) of one sequence, and how they read the sender's.
struct AlignedTokens {
  const int32_t* alignment;  ///< of the whole sequence
  int64_t first, count;
  AlignmentReading reading;
};

/// Throws c10::Error, opened by `where`, for a number outside the sender's tokens and for numbers
/// that decrease.
void check_alignment(const int32_t* alignment, int64_t num_receiver, int64_t num_sender,
                     const std::string& where);

/// The first sender token that a receiver token reads; the last is its alignment.
int64_t first_aligned_row(const AlignedTokens& tokens, int64_t token);

/// `sender_Ud` holds the sequence's sender rows from `first_row` on, as many as are read; writes
/// `tokens.count` rows.
void gather_aligned_rows(const float* sender_Ud, int64_t first_row, int64_t width,
                         const AlignedTokens& tokens, float* output_Td);

}  // namespace kvalign
