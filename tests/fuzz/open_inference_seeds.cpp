// Good heads and bodies of requests, and what they are made of.
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/mutate.h"

namespace kvalign::testing {
namespace {

constexpr std::string_view kTokens[] = {"{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        "\"",
                                        "\\u0000",
                                        "\xff",
                                        " ",
                                        "\r\n",
                                        "\n",
                                        "null",
                                        "true",
                                        "-1",
                                        "0",
                                        "1",
                                        "256",
                                        "0.5",
                                        "1e39",
                                        "4294967296",
                                        "9223372036854775807",
                                        "9223372036854775808",
                                        "18446744073709551616",
                                        "\"UINT8\"",
                                        "\"INT32\"",
                                        "\"INT64\"",
                                        "\"FP16\"",
                                        "\"FP32\"",
                                        "\"data\"",
                                        "\"shape\"",
                                        "\"parameters\"",
                                        "\"binary_data_size\"",
                                        "Content-Length: 5\r\n",
                                        "Transfer-Encoding: chunked\r\n",
                                        "%2f",
                                        "=="};

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {
      "POST /v2/models/a/versions/1/infer?x=y HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
      "Expect: 100-continue\r\nConnection: close\r\n\r\n",
      "GET / HTTP/1.0\r\n\r\n",
      R"({"id":"1","parameters":{"timeout":5,"binary_data_output":false},"inputs":[)"
      R"({"name":"a","datatype":"FP32","shape":[2,2],"data":[[1,2],[3,4.5]]},)"
      R"({"name":"b","datatype":"UINT8","shape":[3],"parameters":{"binary_data_size":3}}],)"
      R"("outputs":[{"name":"c","parameters":{"binary_data":true}}]})"
      "abc",
      R"({"inputs":[{"name":"a","datatype":"INT64","shape":[1],"data":[-9223372036854775808]}]})",
      R"({"packet":"AAECAw==","id":"q","parameters":{"max_tokens":3}})"};
}

std::vector<std::string_view> fuzz_tokens() {
  return {std::begin(kTokens), std::end(kTokens)};
}

void mend(std::string&, size_t) {}  // no lengths or checksums stand before what is read

}  // namespace kvalign::testing
