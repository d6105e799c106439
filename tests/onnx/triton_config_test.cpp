// config.pbtxt as Triton's own messages (tritonclient has them) read it.
#include "kvalign/onnx/triton_config.h"

#include <gtest/gtest.h>

#include "kvalign/core/files.h"
#include "kvalign/core/temporary_folder.h"
#include "tests/support/python.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

OnnxGraph graph_with(OnnxTensor input) {
  OnnxGraph graph("g", 19);
  graph.add_input(std::move(input));
  return graph;
}

TEST(TritonConfig, TritonsMessagesReadIt) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  OnnxGraph graph = graph_with({.name = "codes", .type = OnnxType::kUint8, .shape = {-1, 4, 12}});
  graph.add_input({.name = "scales", .shape = {-1, 4}});
  graph.add_input({.name = "half", .type = OnnxType::kFloat16, .shape = {-1, 1}});
  graph.add_input({.name = "ids", .type = OnnxType::kInt32, .shape = {-1, 1}});
  graph.add_input({.name = "positions", .type = OnnxType::kInt64, .shape = {-1, 1}});
  graph.add_node({"Gather", {"scales", "codes"}, {"keys"}, {}});
  graph.add_output({.name = "keys", .shape = {-1, 3, 2, 5}});
  const TemporaryFolder folder;
  const std::string path = folder.file("config.pbtxt");
  write_file_atomically(
      path,
      triton_config(graph, {.name = "a-b.c_1", .max_batch_size = 64, .max_queue_delay_us = 250}));
  EXPECT_EQ(run_python(R"(
import sys
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton
config = text_format.Parse(open(sys.argv[1]).read(), triton.ModelConfig())
assert config.name == "a-b.c_1" and config.backend == "onnxruntime" and config.platform == "onnxruntime_onnx"
assert config.max_batch_size == 64
assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [
    ("codes", triton.TYPE_UINT8, [4, 12]), ("scales", triton.TYPE_FP32, [4]), ("half", triton.TYPE_FP16, [1]),
    ("ids", triton.TYPE_INT32, [1]), ("positions", triton.TYPE_INT64, [1])], config
assert [(t.name, t.data_type, list(t.dims)) for t in config.output] == [("keys", triton.TYPE_FP32, [3, 2, 5])]
assert config.HasField("dynamic_batching")
assert config.dynamic_batching.max_queue_delay_microseconds == 250
)",
                       path),
            0);
}

TEST(TritonConfig, RefusesWhatTritonLacks) {
  const OnnxTensor good = {.name = "x", .shape = {kOnnxTokens, 3}};
  EXPECT_NO_THROW(triton_config(graph_with(good), {.name = "m"}));
  for (const char* name : {"", ".hidden", "a/b", "a b", "a\"b"}) {
    EXPECT_THROWS_WITH(triton_config(graph_with(good), {.name = name}),
                       "a name of letters, digits");
  }
  const auto refused = [](const OnnxTensor& tensor) {
    return triton_config(graph_with(tensor), {.name = "m"});
  };
  EXPECT_THROWS_WITH(refused({.name = "x", .shape = {3, kOnnxTokens}}), "begins with the tokens");
  EXPECT_THROWS_WITH(refused({.name = "x", .shape = {kOnnxTokens}}), "begins with the tokens");
  EXPECT_THROWS_WITH(refused({.name = "x\n", .shape = {kOnnxTokens, 3}}), "a name of letters");
  EXPECT_THROWS_WITH(
      refused({.name = "x", .type = OnnxType::kFloat8E4M3FN, .shape = {kOnnxTokens, 3}}),
      "tensor x: expected a type that Triton has, got FP8");
}

}  // namespace
}  // namespace kvalign
