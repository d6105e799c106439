// The protocol against another's reading of it: requests that tritonclient makes, answers that it
// reads, whole sessions with a server.
#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "kvalign/core/temporary_folder.h"
#include "kvalign/serve/http_server.h"
#include "kvalign/serve/open_inference.h"
#include "tests/serve/fake_service.h"
#include "tests/support/python.h"

namespace kvalign {
namespace {

std::string contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Writes NAME.body, NAME.json_bytes and, of each input, the bytes in memory, NAME.0 ...
constexpr const char* kWriteRequests = R"(
import sys, numpy as np, tritonclient.http as http
folder = sys.argv[1]
rng = np.random.default_rng(1)
arrays = [("codes", "UINT8", rng.integers(0, 256, (3, 5), dtype=np.uint8)),
          ("scales", "FP32", rng.standard_normal((3, 1)).astype(np.float32)),
          ("ids", "INT64", rng.integers(-2**62, 2**62, (4,), dtype=np.int64)),
          ("short", "INT32", np.zeros((0, 2), dtype=np.int32))]
for name, binary in (("binary", [True] * 4), ("json", [False] * 4), ("mixed", [True, False] * 2)):
    inputs = []
    for (key, datatype, array), is_binary in zip(arrays, binary):
        inputs.append(http.InferInput(key, list(array.shape), datatype))
        inputs[-1].set_data_from_numpy(array, binary_data=is_binary)
    outputs = [http.InferRequestedOutput("cache", binary_data=binary[0])]
    body, size = http.InferenceServerClient.generate_request_body(
        inputs, outputs=outputs, request_id="r1", timeout=250000, parameters={"shadow": True})
    open(f"{folder}/{name}.body", "wb").write(body)
    open(f"{folder}/{name}.json_bytes", "w").write(str(len(body) if size is None else size))
for i, (_, _, array) in enumerate(arrays):
    open(f"{folder}/input.{i}", "wb").write(array.tobytes())
)";

TEST(OpenInferenceClient, RequestsOfTritonclientAreRead) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const TemporaryFolder folder;
  ASSERT_EQ(run_python(kWriteRequests, folder.path()), 0);
  for (const std::string name : {"binary", "json", "mixed"}) {
    const int64_t json_bytes = std::stoll(contents(folder.file(name + ".json_bytes")));
    const InferCall call = parse_infer(contents(folder.file(name + ".body")), json_bytes, {});
    EXPECT_EQ(call.request.id, "r1");
    EXPECT_EQ(call.request.outputs, std::vector<std::string>{"cache"});
    EXPECT_EQ(call.binary_outputs.at("cache"), name != "json");
    EXPECT_EQ(call.timeout_microseconds, 250000);
    EXPECT_EQ(call.request.parameters.at("shadow"), true);
    ASSERT_EQ(call.request.inputs.size(), 4u);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(call.request.inputs[i].data, contents(folder.file("input." + std::to_string(i))))
          << name << " " << i;
    }
    EXPECT_EQ(call.request.inputs[0].shape, (std::vector<int64_t>{3, 5}));
  }
}

constexpr const char* kReadResponse = R"(
import sys, json, numpy as np, tritonclient.http as http
body = open(sys.argv[1], "rb").read()
size = int(sys.argv[2])
result = http.InferenceServerClient.parse_response_body(body, header_length=size or None)
values = np.frombuffer(open(sys.argv[3], "rb").read(), dtype=np.float32).reshape(2, 2)
assert np.array_equal(result.as_numpy("values"), values), result.as_numpy("values")
assert np.array_equal(result.as_numpy("codes"), np.array([7, 255], dtype=np.uint8))
response = result.get_response()
assert response["parameters"]["outcome"] == "applied", response
assert json.loads(response["parameters"]["certificate"]) == {"bound": 0.5}, response
assert response["model_name"] == "m" and response["id"] == "r1", response
)";

TEST(OpenInferenceClient, TritonclientReadsAnswers) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const TemporaryFolder folder;
  const float numbers[] = {0.1f, -1e-38f, 3.4028235e38f, 16777217.0f};
  const std::string values(reinterpret_cast<const char*>(numbers), sizeof numbers);
  std::ofstream(folder.file("values"), std::ios::binary) << values;
  ServeResponse response = {.model = "m", .version = "1", .certificate = {{"bound", 0.5}}};
  response.outputs = {{"values", "FP32", {2, 2}, values}, {"codes", "UINT8", {2}, "\x07\xff"}};
  for (const bool binary : {false, true}) {
    InferCall call;
    call.request.id = "r1";
    call.binary_outputs["values"] = binary;
    const OpenInferenceBody body = write_infer_response(response, call);
    std::ofstream(folder.file("body"), std::ios::binary) << body.bytes;
    EXPECT_EQ(run_python(kReadResponse, folder.file("body") + " " +
                                            std::to_string(body.json_bytes.value_or(0)) + " " +
                                            folder.file("values")),
              0);
  }
}

constexpr const char* kSession = R"(
import sys, json, numpy as np, tritonclient.http as http
from tritonclient.utils import InferenceServerException
client = http.InferenceServerClient(sys.argv[1], concurrency=2)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("fixed", "1")
assert client.get_server_metadata()["name"] == "kvalign"
assert client.get_model_metadata("fixed")["inputs"][0]["name"] == "features"
features = np.arange(10, dtype=np.float32).reshape(5, 2)
matrix = np.array([[1, 3, 0], [2, -1, 0.125]], dtype=np.float32)
for binary in (True, False):
    tensor = http.InferInput("features", [5, 2], "FP32")
    tensor.set_data_from_numpy(features, binary_data=binary)
    for outputs in (None, [http.InferRequestedOutput("cache", binary_data=binary)]):
        result = client.infer("fixed", [tensor], outputs=outputs, request_id="q")
        assert np.array_equal(result.as_numpy("cache"), features @ matrix)
        assert result.get_response()["id"] == "q"
result = client.infer("fixed", [tensor], parameters={"outcome": "unsupported"})
assert result.as_numpy("cache") is None and result.get_output("cache") is None
assert result.get_response()["parameters"]["outcome"] == "unsupported"
pending = [client.async_infer("fixed", [tensor]) for _ in range(20)]
for one in pending:
    assert np.array_equal(one.get_result().as_numpy("cache"), features @ matrix)
for call, text in ((lambda: client.infer("none", [tensor]), "no such model"),
                   (lambda: client.infer("fixed", [tensor], parameters={"refuse": "busy"}), "full"),
                   (lambda: client.get_model_metadata("fixed", "9"), "no such model")):
    try:
        call()
    except InferenceServerException as error:
        assert text in str(error), error
    else:
        raise AssertionError(text)
)";

TEST(OpenInferenceClient, TritonclientHoldsASession) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  testing::FakeService service;
  ServeOptions options;
  options.port = 0;
  const HttpServer server(options, service, {});
  EXPECT_EQ(run_python(kSession, "127.0.0.1:" + std::to_string(server.port())), 0);
}

}  // namespace
}  // namespace kvalign
