// What a latent becomes on its way from the sender to the receiver.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace kvalign {

/// The latent as it arrives after `wire`: float32 (as it is), float16 or float8_e4m3fn; of the
/// latent's dtype. Gradients pass straight through.
at::Tensor latent_through_wire(const at::Tensor& latent, const std::string& wire);

}  // namespace kvalign
