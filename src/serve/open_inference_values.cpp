// Values of tensors as JSON, both ways. See open_inference_tensor.h.
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "open_inference_json.h"
#include "open_inference_tensor.h"

namespace kvalign::open_inference {
namespace {

template <class Value>
bool holds(const nlohmann::json& value) {
  if constexpr (std::is_floating_point_v<Value>) {
    return value.is_number() && std::isfinite(static_cast<Value>(value.get<double>()));
  } else {
    if (!value.is_number_integer()) return false;
    if (value.is_number_unsigned()) {
      return value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<Value>::max());
    }
    return value.get<int64_t>() >= static_cast<int64_t>(std::numeric_limits<Value>::min());
  }
}

// Appends the values of nested arrays, each as long as its dimension, or of one flat array.
template <class Value>
class Reader {
 public:
  Reader(const ServedTensor& tensor, const std::string& where) : tensor_(tensor), where_(where) {}

  std::string read(const nlohmann::json& data, int64_t count) {
    const bool nested =
        tensor_.shape.size() > 1 && data.is_array() && !data.empty() && data.front().is_array();
    nested ? read_nested(data, 0) : read_flat(data, count);
    return std::move(bytes_);
  }

 private:
  void read_nested(const nlohmann::json& data, size_t dimension) {
    if (dimension + 1 == tensor_.shape.size()) {
      read_flat(data, tensor_.shape[dimension]);
      return;
    }
    check_count(data, tensor_.shape[dimension]);
    for (const nlohmann::json& part : data) read_nested(part, dimension + 1);
  }

  void read_flat(const nlohmann::json& data, int64_t count) {
    check_count(data, count);
    for (const nlohmann::json& value : data) {
      if (!holds<Value>(value)) {
        refuse(where_ + ": expected \"data\" to hold " + tensor_.datatype + ", got " +
               brief(value));
      }
      const Value number = static_cast<Value>(value.get<Wide>());
      bytes_.append(reinterpret_cast<const char*>(&number), sizeof number);
    }
  }

  void check_count(const nlohmann::json& data, int64_t count) const {
    if (data.is_array() && data.size() == static_cast<uint64_t>(count)) return;
    refuse(where_ + ": expected \"data\" to hold an array of " + std::to_string(count) +
           " as \"shape\" says, got " + brief(data));
  }

  using Wide = std::conditional_t<std::is_floating_point_v<Value>, double, int64_t>;
  const ServedTensor& tensor_;
  const std::string& where_;
  std::string bytes_;
};

template <class Value>
void append(std::string& text, Value value, const std::string& name) {
  // As a double, which clients read: the shortest text of a float may round twice.
  using Written = std::conditional_t<std::is_floating_point_v<Value>, double, int64_t>;
  if constexpr (std::is_floating_point_v<Value>) {
    if (!std::isfinite(value)) {
      refuse("output \"" + name +
             "\" holds infinity or NaN, which JSON does not have: ask for it "
             "with the parameter \"binary_data\": true");
    }
  }
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.begin(), digits.end(), static_cast<Written>(value)).ptr;
  text.append(digits.begin(), end);
}

template <class Value>
std::string write(const ServedTensor& tensor) {
  std::string text = "[";
  for (size_t at = 0; at < tensor.data.size(); at += sizeof(Value)) {
    Value value;
    std::memcpy(&value, tensor.data.data() + at, sizeof value);
    if (at > 0) text += ',';
    append(text, value, tensor.name);
  }
  return text + "]";
}

}  // namespace

std::string bytes_of_json(const nlohmann::json& data, const ServedTensor& tensor,
                          const std::string& where) {
  const int64_t count =
      tensor_bytes(tensor.shape, tensor.datatype, where) / element_bytes(tensor.datatype, where);
  if (tensor.datatype == "UINT8") return Reader<uint8_t>(tensor, where).read(data, count);
  if (tensor.datatype == "INT32") return Reader<int32_t>(tensor, where).read(data, count);
  if (tensor.datatype == "INT64") return Reader<int64_t>(tensor, where).read(data, count);
  if (tensor.datatype == "FP32") return Reader<float>(tensor, where).read(data, count);
  refuse(where + ": " + tensor.datatype +
         " has no JSON form: send it as binary data, with the parameter \"binary_data_size\"");
}

std::string json_of_bytes(const ServedTensor& tensor) {
  if (tensor.datatype == "UINT8") return write<uint8_t>(tensor);
  if (tensor.datatype == "INT32") return write<int32_t>(tensor);
  if (tensor.datatype == "INT64") return write<int64_t>(tensor);
  if (tensor.datatype == "FP32") return write<float>(tensor);
  refuse("output \"" + tensor.name + "\" is " + tensor.datatype +
         ", which has no JSON form: ask for it with the parameter \"binary_data\": true");
}

}  // namespace kvalign::open_inference
