// Bodies of the Open Inference Protocol: good ones, and each way to be wrong.
#include "kvalign/serve/open_inference.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/support/throws.h"

namespace kvalign {
namespace {

using nlohmann::json;

std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

InferCall parse(const std::string& body, std::optional<int64_t> json_bytes = std::nullopt) {
  return parse_infer(body, json_bytes, {});
}

// A request of one input with these members after its name.
std::string with_input(const std::string& members) {
  return R"({"inputs":[{"name":"x",)" + members + "}]}";
}

void expect_refused(const std::string& body, const std::string& text,
                    std::optional<int64_t> json_bytes = std::nullopt, int status = 400) {
  try {
    parse(body, json_bytes);
    ADD_FAILURE() << body.substr(0, 100) << " was taken";
  } catch (const ServeRefusal& refusal) {
    EXPECT_EQ(refusal.status, status) << body.substr(0, 100);
    EXPECT_THAT(refusal.what(), ::testing::HasSubstr(text));
  }
}

TEST(OpenInference, ReadsValuesFlatAndNested) {
  for (const char* data : {"[1,2,3,4,5,6]", "[[1,2,3],[4,5,6]]"}) {
    const InferCall call =
        parse(with_input(R"("datatype":"FP32","shape":[2,3],"data":)" + std::string(data)));
    ASSERT_EQ(call.request.inputs.size(), 1u);
    EXPECT_EQ(call.request.inputs[0].data, floats({1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(call.request.inputs[0].shape, (std::vector<int64_t>{2, 3}));
  }
  const InferCall empty = parse(with_input(R"("datatype":"INT64","shape":[0,3],"data":[])"));
  EXPECT_EQ(empty.request.inputs[0].data, "");
}

TEST(OpenInference, ReadsTheLimitsOfIntegers) {
  const InferCall call =
      parse(R"({"inputs":[{"name":"a","datatype":"UINT8","shape":[2],"data":[0,255]},)"
            R"({"name":"b","datatype":"INT32","shape":[2],"data":[-2147483648,2147483647]},)"
            R"({"name":"c","datatype":"INT64","shape":[1],"data":[-9223372036854775808]}]})");
  EXPECT_EQ(call.request.inputs[0].data, std::string("\0\xff", 2));
  EXPECT_EQ(call.request.inputs[1].data, std::string("\0\0\0\x80\xff\xff\xff\x7f", 8));
  EXPECT_EQ(call.request.inputs[2].data, std::string("\0\0\0\0\0\0\0\x80", 8));
}

TEST(OpenInference, ReadsBinaryTensorsInTheOrderOfTheInputs) {
  const std::string header =
      R"({"id":"7","parameters":{"timeout":5000,"binary_data_output":true},"inputs":[)"
      R"({"name":"codes","datatype":"UINT8","shape":[3],"parameters":{"binary_data_size":3}},)"
      R"({"name":"ids","datatype":"INT32","shape":[1],"data":[9]},)"
      R"({"name":"half","datatype":"BF16","shape":[1,2],"parameters":{"binary_data_size":4}}],)"
      R"("outputs":[{"name":"a"},{"name":"b","parameters":{"binary_data":false}}]})";
  const InferCall call = parse(header + "abcWXYZ", header.size());
  EXPECT_EQ(call.request.id, "7");
  EXPECT_EQ(call.request.inputs[0].data, "abc");
  EXPECT_EQ(call.request.inputs[1].data, std::string("\x09\0\0\0", 4));
  EXPECT_EQ(call.request.inputs[2].data, "WXYZ");
  EXPECT_EQ(call.timeout_microseconds, 5000);
  EXPECT_EQ(call.request.outputs, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(call.binary_by_default);
  EXPECT_EQ(call.binary_outputs, (std::map<std::string, bool>{{"b", false}}));
}

TEST(OpenInference, RefusesWhatIsNoJsonOfARequest) {
  expect_refused("", "infer: expected JSON");
  expect_refused("{\"inputs\":[]", "infer: expected JSON");
  expect_refused("[]", "expected a JSON object, got an array of 0");
  expect_refused("{\"inputs\":[],\"id\":\"\xff\"}", "infer: expected JSON");
  expect_refused("{}", "\"inputs\" is missing");
  expect_refused(R"({"inputs":{}})", "expected \"inputs\" to be an array");
  expect_refused(R"({"inputs":[],"input":[]})", "unknown member \"input\"; known: id, parameters");
  expect_refused(R"({"inputs":[],"inputs":[]})", "the member \"inputs\" comes twice");
  expect_refused(R"({"inputs":[],"id":5})", "expected \"id\" to be a string");
  expect_refused(R"({"inputs":[],"parameters":[]})", "expected \"parameters\" to be an object");
  expect_refused(R"({"inputs":[],"parameters":{"a":{}}})", "the parameter \"a\" to be a string");
  expect_refused(R"({"inputs":[],"parameters":{"timeout":-1}})", "integer from 0 to 2^53");
  expect_refused(R"({"inputs":[],"parameters":{"binary_data_output":1}})", "true or false, got 1");
  expect_refused(R"({"inputs":[3]})", "inputs[0]: expected an object, got 3");
  expect_refused(R"({"inputs":[],"outputs":[3]})", "outputs[0]: expected an object");
  expect_refused(R"({"inputs":[],"outputs":[{"name":"a"},{"name":"a"}]})", "the name comes twice");
  expect_refused(R"({"inputs":[],"outputs":[{"name":"a","parameters":{"classification":3}}]})",
                 "unknown member \"classification\"");
  expect_refused("{\"inputs\":" + std::string(17, '[') + std::string(17, ']') + "}",
                 "at most 16 levels");
  expect_refused("{\"inputs\":" + std::string(100000, '[') + "}", "at most 16 levels");
  std::string objects, members = "\"m\":0";
  for (int i = 0; i < 4096; ++i) {
    objects += "{},";
    members += ",\"" + std::to_string(i) + "\":0";
  }
  expect_refused("{\"inputs\":[" + objects + "0]}", "at most 4096 objects and members");
  expect_refused("{" + members + "}", "at most 4096 objects and members");
  expect_refused("{\"inputs\":[" + std::string(5 << 20, ' ') + "]}", "bytes of JSON", std::nullopt,
                 413);
}

TEST(OpenInference, RefusesTensorsThatDoNotFitTheirShape) {
  expect_refused(with_input(R"("shape":[1],"data":[1])"), "\"datatype\" is missing");
  expect_refused(with_input(R"("datatype":"FP32","data":[1])"), "\"shape\" is missing");
  expect_refused(with_input(R"("datatype":"FP8","shape":[1],"data":[1])"),
                 "expected a datatype of UINT8, INT32, INT64, FP16, BF16, FP32, got \"FP8\"");
  expect_refused(with_input(R"("datatype":"FP32","shape":[-1],"data":[1])"),
                 "expected \"shape\" to hold integers from 0, got -1");
  expect_refused(with_input(R"("datatype":"FP32","shape":[1.0],"data":[1])"), "got 1.0");
  expect_refused(with_input(R"("datatype":"FP32","shape":[1,1,1,1,1,1,1,1,1],"data":[1])"),
                 "an array of at most 8");
  expect_refused(with_input(R"("datatype":"FP32","shape":[4294967296,4294967296],"data":[])"),
                 "larger than any memory");
  expect_refused(with_input(R"("datatype":"INT64","shape":[2305843009213693952],"data":[])"),
                 "larger than any memory");
  expect_refused(with_input(R"("datatype":"FP32","shape":[2],"data":[1])"),
                 "an array of 2 as \"shape\" says, got an array of 1");
  expect_refused(with_input(R"("datatype":"FP32","shape":[2,2],"data":[[1,2],[3]])"), "array of 2");
  expect_refused(with_input(R"("datatype":"FP32","shape":[2,2],"data":[[1,2],3])"), "got 3");
  expect_refused(with_input(R"("datatype":"FP32","shape":[1],"data":7)"), "got 7");
  expect_refused(with_input(R"("datatype":"FP32","shape":[1],"data":["a"])"), "hold FP32, got");
  expect_refused(with_input(R"("datatype":"FP32","shape":[1],"data":[1e300])"), "hold FP32");
  expect_refused(with_input(R"("datatype":"UINT8","shape":[1],"data":[256])"), "hold UINT8");
  expect_refused(with_input(R"("datatype":"UINT8","shape":[1],"data":[-1])"), "hold UINT8");
  expect_refused(with_input(R"("datatype":"INT32","shape":[1],"data":[1.5])"), "hold INT32");
  expect_refused(with_input(R"("datatype":"INT64","shape":[1],"data":[9223372036854775808])"),
                 "hold INT64");
  expect_refused(with_input(R"("datatype":"FP16","shape":[1],"data":[1])"), "no JSON form");
  expect_refused(with_input(R"("datatype":"FP32","shape":[1],"offset":0,"data":[1])"),
                 "unknown member \"offset\"");
  expect_refused(R"({"inputs":[{"name":"x","datatype":"UINT8","shape":[0],"data":[]},)"
                 R"({"name":"x","datatype":"UINT8","shape":[0],"data":[]}]})",
                 "inputs[1] \"x\": the name comes twice");
}

TEST(OpenInference, RefusesBinaryDataThatIsNotThere) {
  const auto sized = [](const std::string& size) {
    return with_input(R"("datatype":"UINT8","shape":[4],"parameters":{"binary_data_size":)" + size +
                      "}");
  };
  const std::string good = sized("4");
  expect_refused(good + "abc", "expected 4 bytes behind the JSON, got 3", good.size());
  expect_refused(good + "abcde", "to sum up to the 5 bytes", good.size());
  expect_refused(good, "to be from 1 to the body's", good.size() + 1);
  expect_refused(good, "to be from 1 to the body's", 0);
  expect_refused(good, "to be from 1 to the body's", -1);
  expect_refused(good + "abcd", "infer: expected JSON", good.size() - 1);
  expect_refused(sized("3") + "abc", "expected a binary_data_size of 4 for UINT8 [4], got 3",
                 good.size());
  expect_refused(sized("\"4\"") + "abcd", "integer from 0 to 2^53", sized("\"4\"").size());
  expect_refused(sized("18446744073709551615"), "integer from 0 to 2^53");
  expect_refused(with_input(R"("datatype":"UINT8","shape":[1])"), "got neither");
  expect_refused(
      with_input(R"("datatype":"UINT8","shape":[0],"data":[],"parameters":{"binary_data_size":0})"),
      "got both");
}

ServeResponse answer_of(ServedTensor tensor) {
  ServeResponse response = {.model = "m", .version = "3"};
  response.outputs.push_back(std::move(tensor));
  return response;
}

TEST(OpenInference, WritesOutputsAsTheRequestWantsThem) {
  ServeResponse response = answer_of({"a", "FP32", {2}, floats({0.1f, -3})});
  response.outputs.push_back({"b", "BF16", {1, 2}, "WXYZ"});
  response.certificate = {{"bound", 0.5}};
  InferCall call;
  call.request.id = "x";
  call.binary_outputs["b"] = true;
  const OpenInferenceBody body = write_infer_response(response, call);
  ASSERT_TRUE(body.json_bytes);
  EXPECT_EQ(body.bytes.substr(*body.json_bytes), "WXYZ");
  const json head = json::parse(body.bytes.substr(0, *body.json_bytes));
  EXPECT_EQ(head.at("id"), "x");
  EXPECT_EQ(head.at("model_name"), "m");
  EXPECT_EQ(head.at("model_version"), "3");
  EXPECT_EQ(head.at("parameters").at("outcome"), "applied");
  EXPECT_EQ(json::parse(head.at("parameters").at("certificate").get<std::string>()),
            response.certificate);
  EXPECT_EQ(head.at("outputs")[0].at("data")[0].get<float>(), 0.1f);
  EXPECT_EQ(head.at("outputs")[1].at("parameters").at("binary_data_size"), 4);
}

TEST(OpenInference, WritesNoOutputsWhereNothingWasApplied) {
  ServeResponse response = {.model = "m",
                            .outcome = CacheOutcome::kFallbackReprefill,
                            .reason = "the norms are out of range"};
  const OpenInferenceBody body = write_infer_response(response, {});
  EXPECT_FALSE(body.json_bytes);
  const json head = json::parse(body.bytes);
  EXPECT_EQ(head.at("outputs"), json::array());
  EXPECT_EQ(head.at("parameters").at("outcome"), "fallback_reprefill");
  EXPECT_EQ(head.at("parameters").at("reason"), "the norms are out of range");
  EXPECT_FALSE(head.at("parameters").contains("certificate"));
}

TEST(OpenInference, RefusesOutputsThatJsonDoesNotHave) {
  EXPECT_THROWS_WITH(write_infer_response(answer_of({"a", "FP16", {1}, "ab"}), {}),
                     "output \"a\" is FP16, which has no JSON form");
  const std::string infinite = floats({std::numeric_limits<float>::infinity()});
  EXPECT_THROWS_WITH(write_infer_response(answer_of({"a", "FP32", {1}, infinite}), {}),
                     "holds infinity or NaN");
}

TEST(OpenInference, ReadsAPacketToGenerateFrom) {
  const ServeRequest request =
      parse_generate(R"({"packet":"AAECAw==","id":"q","parameters":{"max_tokens":3}})", {});
  EXPECT_EQ(request.inputs.at(0).data, std::string("\0\1\2\3", 4));
  EXPECT_EQ(request.inputs.at(0).shape, std::vector<int64_t>{4});
  EXPECT_EQ(request.id, "q");
  EXPECT_EQ(request.parameters.at("max_tokens"), 3);
  EXPECT_FALSE(parse_generate(R"({"packet":""})", {}).parameters.contains("max_tokens"));
}

TEST(OpenInference, RefusesWhatNothingCanBeGeneratedFrom) {
  const auto refused = [](const std::string& body, const std::string& text) {
    EXPECT_THROWS_WITH(parse_generate(body, {}), text);
  };
  refused("{}", "expected \"packet\" to be a packet in base64, got none");
  refused(R"({"packet":7})", "got 7");
  for (const char* text :
       {"A", "AAA", "AAA=A", "A===", "====", "AA A", "AAAA\\n", "AA-_", " AAA"}) {
    refused(R"({"packet":")" + std::string(text) + "\"}", "is no base64");
  }
  refused(R"({"packet":[0,0]})", "generate: expected no arrays");
  refused(R"({"packet":"","prompt":""})", "unknown member \"prompt\"");
  refused(R"({"packet":"","parameters":{"max_tokens":0}})", "of 1 or more, got 0");
  refused(R"({"packet":"","parameters":{"max_tokens":"3"}})", "integer from 0 to 2^53, got \"3\"");
}

TEST(OpenInference, WritesText) {
  const json whole = json::parse(write_generate_response(
      {.model = "m", .version = "3", .certificate = {{"a", 1}}}, "hi\n", "q"));
  EXPECT_EQ(whole, json({{"model_name", "m"},
                         {"model_version", "3"},
                         {"id", "q"},
                         {"text_output", "hi\n"},
                         {"outcome", "applied"},
                         {"reason", ""},
                         {"certificate", {{"a", 1}}}}));
  const json piece = json::parse(write_generated_piece({.model = "m"}, {"\xc3\xa4", 12}));
  EXPECT_EQ(piece.at("text_output"), "\xc3\xa4");
  EXPECT_EQ(piece.at("token_id"), 12);
  EXPECT_EQ(json::parse(write_error("no \"x\"")).at("error"), "no \"x\"");
}

}  // namespace
}  // namespace kvalign
