// Good safetensors files, what their headers are made of, and header lengths that fit again.
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/mutate.h"

namespace kvalign::testing {
namespace {

// What headers are made of, and numbers at which checks go wrong.
constexpr std::string_view kTokens[] = {"{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        "\"",
                                        "\\",
                                        "\\u0000",
                                        "\xff",
                                        " ",
                                        "null",
                                        "true",
                                        "-1",
                                        "0",
                                        "1",
                                        "2",
                                        "4",
                                        "8",
                                        "0.5",
                                        "1e9",
                                        "-0",
                                        "16",
                                        "255",
                                        "65536",
                                        "\"dtype\"",
                                        "\"shape\"",
                                        "\"data_offsets\"",
                                        "\"__metadata__\"",
                                        "\"F32\"",
                                        "\"BOOL\"",
                                        "\"F8_E4M3\"",
                                        "\"I64\"",
                                        "\"a\"",
                                        "2147483648",
                                        "4294967296",
                                        "4611686018427387904",
                                        "9223372036854775807",
                                        "9223372036854775808",
                                        "18446744073709551615",
                                        "18446744073709551616"};

// Each of fuzz_seeds() has this many bytes of data.
constexpr size_t kDataSizes[] = {0, 0, 24, 30};

std::string with_length(const std::string& header, size_t data_size) {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof length);
  return file + header + std::string(data_size, '\1');
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  const std::string metadata = R"("__metadata__":{"format":"pt","step":"12"})";
  const std::string matrix = R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]})";
  const std::string codes = R"("b":{"dtype":"F8_E4M3","shape":[5],"data_offsets":[24,29]})";
  const std::string flags = R"("c":{"dtype":"BOOL","shape":[1,1],"data_offsets":[29,30]})";
  const std::string empty = R"("d":{"dtype":"I64","shape":[0,7],"data_offsets":[30,30]})";
  return {with_length("{}", 0), with_length("{" + metadata + "}   ", 0),
          with_length("{" + matrix + "}", 24),
          with_length("{" + metadata + "," + matrix + "," + codes + "," + flags + "," + empty + "}",
                      30)};
}

std::vector<std::string_view> fuzz_tokens() {
  return {std::begin(kTokens), std::end(kTokens)};
}

void mend(std::string& file, size_t seed) {
  const size_t data_size = kDataSizes[seed];
  if (file.size() < 8 + data_size) return;
  const uint64_t length = file.size() - 8 - data_size;
  std::memcpy(file.data(), &length, sizeof length);
}

}  // namespace kvalign::testing
