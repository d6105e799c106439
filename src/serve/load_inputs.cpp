// See load_inputs.h.
#include "load_inputs.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>

#include "kvalign/core/files.h"
#include "kvalign/format/fp8.h"
#include "kvalign/format/packet_reader.h"

namespace kvalign {
namespace {

// Of one length in tokens: enough that no cache of the server's machine holds them all, few enough
// that they do not fill the client's memory.
constexpr int64_t kInputsOfALength = 16;
constexpr int64_t kBytesOfALength = int64_t{64} << 20;

int64_t element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

[[noreturn]] void refuse_input(const std::string& name, const std::string& what) {
  throw std::runtime_error("load: the model's input '" + name + "' " + what);
}

// The model's input of that name and datatype, with `tokens` in its one open dimension.
ServedTensor tensor_like(const nlohmann::json& metadata, const std::string& name,
                         const std::string& datatype, int64_t tokens) {
  std::string known;
  for (const nlohmann::json& input : metadata.at("inputs")) {
    const auto input_name = input.at("name").get<std::string>();
    known += (known.empty() ? "" : ", ") + input_name;
    if (input_name != name) continue;
    if (input.at("datatype") != datatype) {
      refuse_input(name,
                   "is " + input.at("datatype").get<std::string>() + ", expected " + datatype);
    }
    ServedTensor tensor{
        .name = name, .datatype = datatype, .shape = input.at("shape").get<std::vector<int64_t>>()};
    if (std::count(tensor.shape.begin(), tensor.shape.end(), -1) != 1) {
      refuse_input(name, "has shape " + input.at("shape").dump() +
                             ", expected one open dimension (-1), its tokens");
    }
    std::replace(tensor.shape.begin(), tensor.shape.end(), int64_t{-1}, tokens);
    return tensor;
  }
  throw std::runtime_error("load: the model has no input '" + name + "'; it has: " + known +
                           ". Set load.input to what it reads");
}

std::string bytes_of(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::vector<float> normal_values(int64_t count, std::mt19937_64& bits) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(bits);
  return values;
}

LoadInput random_features(const nlohmann::json& metadata, int64_t tokens, std::mt19937_64& bits) {
  ServedTensor features = tensor_like(metadata, "features", "FP32", tokens);
  features.data = bytes_of(normal_values(element_count(features.shape), bits));
  return {.tensors = {std::move(features)}, .tokens = tokens};
}

// Each scale serves as many codes as the shapes say, in the order in which both lie.
LoadInput random_codes(const nlohmann::json& metadata, int64_t tokens, std::mt19937_64& bits) {
  ServedTensor codes = tensor_like(metadata, "codes", "UINT8", tokens);
  ServedTensor scales = tensor_like(metadata, "scales", "FP32", tokens);
  const int64_t num_codes = element_count(codes.shape);
  const int64_t num_scales = element_count(scales.shape);
  if (num_codes % num_scales != 0) {
    refuse_input("scales", "has " + std::to_string(num_scales) + " numbers for " +
                               std::to_string(num_codes) + " codes, expected a divisor");
  }
  const std::vector<float> values = normal_values(num_codes, bits);
  std::vector<float> scale_values;
  const auto group = static_cast<size_t>(num_codes / num_scales);
  for (size_t begin = 0; begin < values.size(); begin += group) {
    float amax = 0;
    for (size_t i = begin; i < begin + group; ++i) amax = std::max(amax, std::abs(values[i]));
    const float scale = amax / fp8_largest(Fp8Format::kE4M3FN);
    scale_values.push_back(scale);
    for (size_t i = begin; i < begin + group; ++i) {
      codes.data += static_cast<char>(
          encode_fp8(values[i] / scale, Fp8Format::kE4M3FN, Fp8Overflow::kSaturate));
    }
  }
  scales.data = bytes_of(scale_values);
  return {.tensors = {std::move(codes), std::move(scales)}, .tokens = tokens};
}

LoadInput packet_input(const std::string& path) {
  LoadInput input{.packet = read_file(path)};
  ByteView rest{reinterpret_cast<const uint8_t*>(input.packet.data()), input.packet.size()};
  const PacketStatus status = check_packet(rest);
  if (status != PacketStatus::kOk) {
    throw std::runtime_error("load: " + path + " is no packet: " + packet_status_text(status));
  }
  PacketReader reader;
  reader.open(rest);
  input.tokens = reader.header().num_tokens;
  input.tensors = {{.name = "packet",
                    .datatype = "UINT8",
                    .shape = {static_cast<int64_t>(input.packet.size())},
                    .data = input.packet}};
  return input;
}

int64_t byte_count(const LoadInput& input) {
  int64_t bytes = 0;
  for (const ServedTensor& tensor : input.tensors) {
    bytes += static_cast<int64_t>(tensor.data.size());
  }
  return bytes;
}

}  // namespace

LoadInputs::LoadInputs(const LoadOptions& options, const nlohmann::json& metadata) {
  if (options.reads_packets()) {
    for (const std::string& path : options.packets) pool_.push_back(packet_input(path));
    for (size_t i = 0; i < pool_.size(); ++i) choices_.push_back(i);
    return;
  }
  std::mt19937_64 bits(static_cast<uint64_t>(options.seed));
  std::vector<size_t> begin_of_length = {0};
  for (const int64_t tokens : options.tokens) {
    int64_t left = kInputsOfALength;
    for (int64_t bytes = 0; left > 0 && bytes < kBytesOfALength; --left) {
      pool_.push_back(options.input == "codes" ? random_codes(metadata, tokens, bits)
                                               : random_features(metadata, tokens, bits));
      bytes += byte_count(pool_.back());
    }
    begin_of_length.push_back(pool_.size());
  }
  for (int64_t i = 0; i < options.queries; ++i) {
    const size_t length = bits() % options.tokens.size();
    const size_t begin = begin_of_length[length];
    choices_.push_back(begin + bits() % (begin_of_length[length + 1] - begin));
  }
}

}  // namespace kvalign
