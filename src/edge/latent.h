// Latents of some tokens: the linear map of an encoder file, in one order of summation for every
// machine.
#pragma once

#include <cstdint>

#include "kvalign/format/encoder_file.h"

namespace kvalign {

// features: [num_tokens, P], zeros behind the F-th; latents: [num_tokens, R]. Both start at
// multiples of 64.
void make_latents(const EncoderFile& file, const float* features, uint32_t num_tokens,
                  float* latents) noexcept;

}  // namespace kvalign
