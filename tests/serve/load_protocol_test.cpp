// What a load generator writes and reads, beside Triton's own client (tritonclient.http).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kvalign/core/files.h"
#include "kvalign/core/temporary_folder.h"
#include "src/serve/load_request.h"
#include "src/serve/load_response.h"
#include "tests/support/python.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(LoadRequest, InferIsWhatTritonsClientWrites) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const TemporaryFolder folder;
  const std::vector<ServedTensor> tensors = {
      {.name = "codes", .datatype = "UINT8", .shape = {2, 3}, .data = "\x01\x02\x03\x04\x05\x06"},
      {.name = "scales",
       .datatype = "FP32",
       .shape = {2},
       .data = std::string("\0\0\x80?\0\0\0@", 8)}};
  const InferBody body = infer_body("query-7", tensors);
  write_file_atomically(folder.file("body"), body.bytes);
  EXPECT_EQ(run_python(R"(
import json, sys
import numpy as np
import tritonclient.http as triton
tensors = [("codes", np.arange(1, 7, dtype=np.uint8).reshape(2, 3)), ("scales", np.array([1, 2], dtype=np.float32))]
inputs = []
for name, values in tensors:
    datatype = {"uint8": "UINT8", "float32": "FP32"}[values.dtype.name]
    inputs.append(triton.InferInput(name, list(values.shape), datatype))
    inputs[-1].set_data_from_numpy(values, binary_data=True)
expected, size = triton.InferenceServerClient.generate_request_body(inputs, request_id="query-7")
body, json_bytes = open(sys.argv[1], "rb").read(), int(sys.argv[2])
assert json.loads(body[:json_bytes]) == json.loads(expected[:size]), (body, expected)
assert body[json_bytes:] == expected[size:], (body, expected)
)",
                       folder.file("body") + " " + std::to_string(body.json_bytes)),
            0);
}

TEST(LoadRequest, GenerateHasThePacketInBase64) {
  // RFC 4648, section 10.
  const auto packet_text = [](const std::string& packet) {
    return nlohmann::json::parse(generate_body("g", packet, 5))["packet"].get<std::string>();
  };
  EXPECT_EQ(packet_text("f"), "Zg==");
  EXPECT_EQ(packet_text("fo"), "Zm8=");
  EXPECT_EQ(packet_text("foobar"), "Zm9vYmFy");
  const nlohmann::json body = nlohmann::json::parse(generate_body("g", "f", 5));
  EXPECT_EQ(body["id"], "g");
  EXPECT_EQ(body["parameters"]["max_tokens"], 5);
}

struct Answer {
  nlohmann::json header;
  std::string data;
  LoadAnswer read() const {
    const std::string json = header.dump();
    return read_infer_answer(json + data, json.size());
  }
};

Answer good_answer() {
  const nlohmann::json output = {{"name", "cache"},
                                 {"datatype", "FP32"},
                                 {"shape", {1, 2}},
                                 {"parameters", {{"binary_data_size", 8}}}};
  return {.header = {{"model_name", "seed"},
                     {"id", "query-7"},
                     {"parameters", {{"outcome", "applied"}}},
                     {"outputs", nlohmann::json::array({output})}},
          .data = "12345678"};
}

TEST(LoadResponse, ReadsWhatTritonsClientReads) {
  const Answer answer = good_answer();
  EXPECT_EQ(answer.read().id, "query-7");
  EXPECT_EQ(answer.read().outcome, "applied");
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const TemporaryFolder folder;
  const std::string json = answer.header.dump();
  write_file_atomically(folder.file("answer"), json + answer.data);
  EXPECT_EQ(run_python(R"(
import sys
import tritonclient.http as triton
body = open(sys.argv[1], "rb").read()
result = triton.InferenceServerClient.parse_response_body(body, header_length=int(sys.argv[2]))
assert result.as_numpy("cache").tobytes() == b"12345678" and result.as_numpy("cache").shape == (1, 2)
assert result.get_response()["id"] == "query-7"
)",
                       folder.file("answer") + " " + std::to_string(json.size())),
            0);
}

TEST(LoadResponse, ReadsNumbersInTheJsonAndServersThatSayNoOutcome) {
  const nlohmann::json output = {
      {"name", "y"}, {"datatype", "FP32"}, {"shape", {2}}, {"data", {1.5, 2.5}}};
  const nlohmann::json header = {{"id", "x"}, {"outputs", nlohmann::json::array({output})}};
  EXPECT_EQ(read_infer_answer(header.dump(), std::nullopt).id, "x");
  EXPECT_EQ(read_infer_answer(header.dump(), std::nullopt).outcome, "");
}

TEST(LoadResponse, RefusesWhatDoesNotHoldWhatItSays) {
  const auto refused = [](const char* text, auto change) {
    Answer answer = good_answer();
    change(answer);
    EXPECT_THROWS_WITH(answer.read(), text);
  };
  const auto output = [](Answer& answer) -> nlohmann::json& { return answer.header["outputs"][0]; };
  refused("expected 8 bytes behind the JSON, got 7", [](Answer& a) { a.data.pop_back(); });
  refused("expected 8 bytes behind the JSON, got 9", [](Answer& a) { a.data += "9"; });
  refused("output \"cache\": expected 12 bytes by its shape, got 8", [&](Answer& a) {
    output(a)["shape"] = {1, 3};
  });
  refused("larger than any memory", [&](Answer& a) {
    output(a)["shape"] = {int64_t{1} << 40, int64_t{1} << 40, 8};
  });
  refused("to hold integers from 0, got -1", [&](Answer& a) { output(a)["shape"] = {-1, 2}; });
  refused("\"shape\" is missing", [&](Answer& a) { output(a).erase("shape"); });
  refused("got \"FP12\"", [&](Answer& a) { output(a)["datatype"] = "FP12"; });
  refused("binary_data_size",
          [&](Answer& a) { output(a)["parameters"]["binary_data_size"] = "8"; });
  refused("\"data\" is missing", [&](Answer& a) { output(a).erase("parameters"); });
  refused("expected outputs to be objects, got 3", [](Answer& a) { a.header["outputs"] = {3}; });
  refused("\"outputs\" is missing", [](Answer& a) { a.header.erase("outputs"); });
  EXPECT_THROWS_WITH(read_infer_answer("no", std::nullopt), "answer: expected JSON, got ");
  EXPECT_THROWS_WITH(read_infer_answer("{}", 3), "expected 3 bytes of JSON by Inference-Header");
}

TEST(EventReader, ReadsEventsInPartsOfAnySize) {
  const std::string stream =
      ": a comment\ndata: {\"text_output\":\"a\"}\n\nevent: x\r\ndata:{\"n\":\r\ndata: 2}\r\n\r\n"
      "\n\ndata: {\"last\":true}\n\n";
  for (size_t part = 1; part <= stream.size(); ++part) {
    std::vector<std::string> events;
    EventReader reader([&](const nlohmann::json& event) { events.push_back(event.dump()); });
    for (size_t begin = 0; begin < stream.size(); begin += part) {
      reader.feed(std::string_view(stream).substr(begin, part));
    }
    EXPECT_THAT(events, ElementsAre("{\"text_output\":\"a\"}", "{\"n\":2}", "{\"last\":true}"));
    EXPECT_FALSE(reader.within_event());
  }
}

TEST(EventReader, KnowsOfAnEventThatDidNotEndAndRefusesNoJson) {
  EventReader reader([](const nlohmann::json&) {});
  reader.feed("data: {");
  EXPECT_TRUE(reader.within_event());
  reader.feed("}\n");
  EXPECT_TRUE(reader.within_event());
  reader.feed("\n");
  EXPECT_FALSE(reader.within_event());
  EXPECT_THROWS_WITH(reader.feed("data: 3\n\n"), "event: expected a JSON object, got 3");
}

}  // namespace
}  // namespace kvalign
