// Two tokenisers cut one text differently: which sender tokens a receiver token reads. By the ends
// of the tokens' spans alone; the text itself is not needed.
//
// Shapes: S streams, U sender tokens, T receiver tokens, d width
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "kvalign/format/export.h"

namespace kvalign {

/// What a receiver token reads of the sender's cache. `kLast`: the aligned sender token alone.
/// `kMean`: the mean over all sender tokens after the one that the receiver token before is aligned
/// with, up to its own (all from the start for the first token); its own alone where there are
/// none.
enum class AlignmentReading { kLast, kMean };

/// "last" or "mean". Throws c10::Error for another name.
KVALIGN_API AlignmentReading alignment_reading(const std::string& name);

/// For each receiver token the last sender token whose span ends at or before its own end; 0 where
/// none does. Ends: int32 [U] and [T] of one sequence, never decreasing. Returns int32 [T].
/// Throws c10::Error for other dtypes or shapes, an empty side, and ends that decrease.
KVALIGN_API at::Tensor align_tokens(const at::Tensor& sender_ends, const at::Tensor& receiver_ends);

/// One sequence as the receiver's tokens read it: floating CPU streams [S, U, d] -> float32
/// [S, T, d]. alignment_T: int32 [T], what align_tokens returns. Throws c10::Error for other shapes
/// or dtypes, and for an alignment that decreases or points outside.
KVALIGN_API at::Tensor read_aligned(const at::Tensor& streams_SUd, const at::Tensor& alignment_T,
                                    AlignmentReading reading);

}  // namespace kvalign
