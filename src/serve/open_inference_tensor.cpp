// Datatypes, shapes and sizes. See the header.
#include "open_inference_tensor.h"

#include "open_inference_json.h"

namespace kvalign::open_inference {
namespace {

struct Datatype {
  const char* name;
  int64_t bytes;
  bool has_json_form;
};

constexpr Datatype kDatatypes[] = {{"UINT8", 1, true}, {"INT32", 4, true}, {"INT64", 8, true},
                                   {"FP16", 2, false}, {"BF16", 2, false}, {"FP32", 4, true}};

const Datatype& find(const std::string& name, const std::string& where) {
  std::string known;
  for (const Datatype& datatype : kDatatypes) {
    if (name == datatype.name) return datatype;
    known += (known.empty() ? "" : ", ") + std::string(datatype.name);
  }
  refuse(where + ": expected a datatype of " + known + ", got " + brief(name) +
         "; FP8 travels as UINT8 codes with FP32 scales");
}

}  // namespace

int64_t element_bytes(const std::string& datatype, const std::string& where) {
  return find(datatype, where).bytes;
}

bool has_json_form(const std::string& datatype) {
  return find(datatype, "tensor").has_json_form;
}

std::vector<int64_t> parse_shape(const nlohmann::json& tensor, const std::string& where) {
  constexpr size_t kMostDimensions = 8;
  std::vector<int64_t> shape;
  for (const nlohmann::json& size : array_member(tensor, "shape", kMostDimensions, where)) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > INT64_MAX) {
      refuse(where + ": expected \"shape\" to hold integers from 0, got " + brief(size));
    }
    shape.push_back(size.get<int64_t>());
  }
  return shape;
}

int64_t tensor_bytes(const std::vector<int64_t>& shape, const std::string& datatype,
                     const std::string& where) {
  int64_t bytes = element_bytes(datatype, where);
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) {
      refuse(where + ": the product of \"shape\" is larger than any memory");
    }
  }
  return bytes;
}

}  // namespace kvalign::open_inference
