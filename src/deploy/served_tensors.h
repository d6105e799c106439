// Tensors of the protocol to LibTorch's and back. Private to deploy/.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kvalign/serve/inference_service.h"

namespace kvalign {

/// Null where the request has no input of that name.
const ServedTensor* find_input(const ServeRequest& request, const std::string& name);

/// Throws ServeRefusal 400 "invalid": "<model>: <what>".
[[noreturn]] void refuse_request(const ServeRequest& request, const std::string& what);

/// What an input must be. A size of -1 may be any that is at least 1.
struct ExpectedTensor {
  std::vector<std::string> datatypes;
  std::vector<int64_t> shape;
};

/// A view of the request's bytes, which must outlive it. Throws as refuse_request for another
/// datatype or shape, and for bytes that are not those of the shape.
at::Tensor view_input(const ServeRequest& request, const ServedTensor& input,
                      const ExpectedTensor& expected);

/// float32 of any strides, on any device.
ServedTensor to_served(const std::string& name, const at::Tensor& values);

}  // namespace kvalign
