// Requests that are wrong, each in a way that is known: what a server must refuse.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/serve/raw_client.h"

namespace kvalign::testing {

// The engine's numbers are fixed by the C++ standard, a distribution's are not.
class Draw {
 public:
  explicit Draw(uint64_t seed) : engine_(seed) {}
  size_t below(size_t bound) { return static_cast<size_t>(engine_() % bound); }
  std::string one_of(const std::vector<std::string>& choices) {
    return choices[below(choices.size())];
  }
  std::string letters(size_t count) {
    std::string text(count, ' ');
    for (char& byte : text) byte = static_cast<char>('a' + below(26));
    return text;
  }

 private:
  std::mt19937_64 engine_;
};

inline const std::string kInferPath = "/v2/models/fixed/infer";
inline const std::string kGoodJson =
    R"({"inputs":[{"name":"codes","datatype":"UINT8","shape":[2,4],"parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}})";

// A request with binary tensors, with these sizes in its head.
inline std::string binary_request(const std::string& json, const std::string& binary,
                                  const std::string& json_bytes) {
  return post(kInferPath, json + binary, "Inference-Header-Content-Length: " + json_bytes + "\r\n");
}

inline std::string good_request() {
  return binary_request(kGoodJson, "ABCDEFGH", std::to_string(kGoodJson.size()));
}

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

// HTTP that is none, or that two readers would read in two ways.
inline std::string malformed_http(Draw& draw) {
  const std::string good = good_request();
  const std::string length = "Content-Length: " + std::to_string(kGoodJson.size() + 8);
  switch (draw.below(16)) {
    case 0:  // a request line of other words
      return replaced(good, "POST /v2/models/fixed/infer HTTP/1.1",
                      draw.one_of({"POST", "POST /v2", " POST /v2 HTTP/1.1", "POST /v2 HTTP/1.1 x",
                                   "POST  HTTP/1.1", "POST v2 HTTP/1.1", "P(ST /v2 HTTP/1.1",
                                   "POST /v2#a HTTP/1.1", "POST /v\xc3\xa4 HTTP/1.1",
                                   "POST http://a/v2 HTTP/1.1", "POST * HTTP/1.1", ":"}));
    case 1:
      return replaced(
          good, "HTTP/1.1",
          draw.one_of({"HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "http/1.1", "HTTP/11", "HTTP"}));
    case 2:
      return replaced(good, "POST",
                      draw.one_of({"PUT", "DELETE", "TRACE", "CONNECT", "get", "POSTS"}));
    case 3:  // a length that is none
      return replaced(
          good, length,
          "Content-Length: " + draw.one_of({"-1", "+5", "0x10", "1e3", "", "5 5", "5,5", "12a",
                                            "99999999999999999999", "18446744073709551617", " "}));
    case 4:  // two ends of one body
      return replaced(good, length,
                      length + "\r\n" +
                          draw.one_of({length, "Content-Length: 0", "Transfer-Encoding: chunked",
                                       "transfer-encoding: identity"}));
    case 5:
      return replaced(good, length,
                      "Transfer-Encoding: " + draw.one_of({"gzip", "gzip, chunked",
                                                           "chunked, chunked", "xchunked", ""}));
    case 6:
      return replaced(good, length, draw.one_of({"X-A: b", "Content_Length: 5"}));
    case 7:
      return replaced(good, "Host: test",
                      draw.one_of({"Host : test", "Host: a\r\nHost: b", "X: y",
                                   "Host: a\r\n folded", "No colon", ": empty", "H\xc3\xb6st: a",
                                   "Host: a\r\n\tb: c", "Host: a\r\n@: b"}));
    case 8:  // a byte that no head has
      return replaced(
          good, "Host: test",
          "Host: te" +
              std::string(
                  1, static_cast<char>(draw.one_of({"\x01", "\x0b", "\x1f", "\x7f", "\n"})[0])) +
              "st");
    case 9:
      return replaced(good, "Host: test", "Host: te" + std::string(1, '\0') + "st");
    case 10:  // more than a head may have
      return replaced(good, "Host: test",
                      "Host: test\r\nX: " + draw.letters(17000 + draw.below(3000)));
    case 11: {
      std::string headers = "Host: test";
      for (size_t i = 0; i < 64 + draw.below(100); ++i) headers += "\r\nX: " + draw.letters(3);
      return replaced(good, "Host: test", headers);
    }
    case 12:
      return replaced(good, kInferPath, "/" + draw.letters(2048 + draw.below(4000)));
    case 13:
      return replaced(good, "Host: test",
                      "Host: test\r\n" + draw.one_of({"Content-Encoding: gzip", "Expect: miracles",
                                                      "Content-Encoding: br"}));
    case 14:  // chunks that are none
      return replaced(
          replaced(good, length, "Transfer-Encoding: chunked"), kGoodJson,
          draw.one_of({"g\r\n", "-1\r\n", "\r\n", "5 \r\n", "123456789\r\n", "3\r\nabcd\r\n",
                       "0x3\r\nabc\r\n", "3\nabc\r\n", ";\r\n", draw.letters(300)}));
    default:
      return draw.one_of({"GET /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
                          "\r\n\r\nGET /v2 HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03\x01\x02\x01\x01",
                          "GET /v2 HTTP/1.1\nHost: a\n\n", "\n",
                          "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"});
  }
}

// Good HTTP around JSON that is none, or no request.
inline std::string malformed_json(Draw& draw) {
  const std::string good =
      R"({"inputs":[{"name":"features","datatype":"FP32","shape":[2,2],"data":[1,2,3,4]}]})";
  switch (draw.below(8)) {
    case 0:  // cut short
      return post(kInferPath, good.substr(0, draw.below(good.size())));
    case 1:
      return post(kInferPath, std::string(17 + draw.below(60000), draw.one_of({"[", "{"})[0]));
    case 2:
      return post(kInferPath,
                  replaced(good, "[1,2,3,4]",
                           draw.one_of({"[1,2,3]", "[1,2,3,4,5]", "[[1,2],[3]]", "[]", "{}", "null",
                                        "[1,2,3,null]", "[1,2,3,\"4\"]", "[1,2,3,1e40]",
                                        "[1,2,3,1e999]", "[1,2,3,NaN]", "[[[1,2],[3,4]]]"})));
    case 3:
      return post(kInferPath,
                  replaced(good, "[2,2]",
                           draw.one_of({"[2,3]", "[-2,-2]", "[4294967296,4294967296]", "4",
                                        "[9223372036854775807,2]", "[1,1,1,1,1,1,1,1,4]", "[2.0,2]",
                                        "[\"2\",2]", "[18446744073709551616]"})));
    case 4:
      return post(kInferPath,
                  replaced(good, "FP32",
                           draw.one_of({"FP64", "BYTES", "FP16", "BF16", "fp32", "", "UINT16"})));
    case 5:
      return post(kInferPath,
                  replaced(good, "\"inputs\"",
                           draw.one_of({"\"input\"", "\"id\":1,\"inputs\"", "inputs",
                                        "\"inputs\":[],\"inputs\"", "\"parameters\":1,\"inputs\"",
                                        "\"outputs\":1,\"inputs\"", "\"a\":2,\"inputs\""})));
    case 6:
      return post(kInferPath, replaced(good, "features",
                                       draw.one_of({"\xff", "\xc0\x80", "\"", "\\x", "\\ud800",
                                                    std::string(300, 'n'), "a\nb"})));
    default:
      return post(
          "/v2/models/fixed/" + draw.one_of({"generate", "generate_stream"}),
          draw.one_of({"", "{}", R"({"packet":1})", R"({"packet":"A"})", R"({"packet":"AA A"})",
                       R"({"packet":"","parameters":{"max_tokens":1.5}})",
                       R"({"packet":"","parameters":{"max_tokens":-1}})", R"({"text_input":"a"})",
                       R"({"packet":"===="})"}));
  }
}

// Good HTTP and good JSON whose sizes do not fit what is there.
inline std::string malformed_sizes(Draw& draw) {
  const std::string size = std::to_string(kGoodJson.size());
  const auto near = [&](size_t value) {
    const size_t by = 1 + draw.below(value);
    return std::to_string(draw.below(2) == 0 ? value + by : value - by);
  };
  switch (draw.below(5)) {
    case 0:
      return binary_request(kGoodJson, "ABCDEFGH",
                            draw.one_of({near(kGoodJson.size()), "0", "-1", "x", "", "1e2",
                                         "99999999999999999999", "9223372036854775807"}));
    case 1:
      return binary_request(kGoodJson, draw.letters(draw.below(8)), size);
    case 2:
      return binary_request(kGoodJson, draw.letters(9 + draw.below(1000)), size);
    case 3: {
      const std::string json = replaced(
          kGoodJson, "\"binary_data_size\":8",
          "\"binary_data_size\":" + draw.one_of({near(8), "18446744073709551615", "-8", "\"8\"",
                                                 "8.0", "9223372036854775807", "null"}));
      return binary_request(json, "ABCDEFGH", std::to_string(json.size()));
    }
    default: {
      const std::string json = replaced(
          kGoodJson, "[2,4]",
          draw.one_of({"[2,5]", "[7]", "[]", "[0]", "[2,4,2]", "[2305843009213693952,8]"}));
      return binary_request(json, "ABCDEFGH", std::to_string(json.size()));
    }
  }
}

}  // namespace kvalign::testing
