// One tensor of the protocol: its datatype, the size that its shape asks for, and its values as
// JSON. Private to serve/.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kvalign/serve/inference_service.h"

namespace kvalign::open_inference {

/// Bytes of an element. Throws ServeRefusal (400) for a datatype that is not served, with the list
/// of those that are.
int64_t element_bytes(const std::string& datatype, const std::string& where);

/// False for FP16 and BF16, which travel as binary alone.
bool has_json_form(const std::string& datatype);

/// Reads `shape`: at most 8 dimensions, none negative. Throws ServeRefusal.
std::vector<int64_t> parse_shape(const nlohmann::json& tensor, const std::string& where);

/// The number of bytes of a tensor. Throws ServeRefusal where it is no int64.
int64_t tensor_bytes(const std::vector<int64_t>& shape, const std::string& datatype,
                     const std::string& where);

/// The values of `data`, flat or nested as `shape` says, in memory's order. Throws ServeRefusal
/// for another count, another nesting, and a value that the datatype does not hold.
std::string bytes_of_json(const nlohmann::json& data, const ServedTensor& tensor,
                          const std::string& where);

/// "[1,2,3]": flat. Throws ServeRefusal (400) for datatypes and values that JSON does not have.
std::string json_of_bytes(const ServedTensor& tensor);

}  // namespace kvalign::open_inference
