// Models as onnx and onnxruntime read them, with weights inside and beside the file.
#include "kvalign/onnx/model_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "kvalign/core/temporary_folder.h"
#include "tests/support/python.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

// y = x W + b, with W of 64 KiB and b of 512 bytes.
class OnnxModelFileTest : public ::testing::Test {
 protected:
  OnnxModelFileTest() : weights_(128 * 128), biases_(128) {
    for (size_t i = 0; i < weights_.size(); ++i) weights_[i] = static_cast<float>(i % 7) - 3;
    for (size_t i = 0; i < biases_.size(); ++i) biases_[i] = static_cast<float>(i);
  }

  static std::string_view bytes(const std::vector<float>& numbers) {
    return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float)};
  }

  OnnxGraph graph() const {
    OnnxGraph graph("linear", 17);
    graph.add_input({.name = "x", .shape = {kOnnxTokens, 128}});
    graph.add_constant({{.name = "W", .shape = {128, 128}}, bytes(weights_)});
    graph.add_constant({{.name = "V", .shape = {128, 128}}, bytes(weights_)});
    graph.add_constant({{.name = "b", .shape = {128}}, bytes(biases_)});
    graph.add_node({"Gemm", {"x", "W", "b"}, {"h"}, {{"alpha", 2.0f}, {"transB", int64_t{0}}}});
    graph.add_node({"MatMul", {"h", "V"}, {"hV"}, {}});
    graph.add_node({"Transpose", {"hV"}, {"y"}, {{"perm", std::vector<int64_t>{1, 0}}}});
    graph.add_output({.name = "y", .shape = {128, kOnnxTokens}});
    graph.set_metadata("who", "test");
    return graph;
  }

  // Whole numbers below 2^24: the result is exact.
  int read_back(const std::string& path, int num_external) const {
    return run_python(R"(
import numpy, onnx, onnxruntime, sys
path, num_external = sys.argv[1], int(sys.argv[2])
onnx.checker.check_model(path, full_check=True)
model = onnx.load(path, load_external_data=False)
external = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
assert len(external) == num_external, len(external)
for t in external:
    assert int({e.key: e.value for e in t.external_data}["offset"]) % 4096 == 0
assert model.metadata_props[0].key == "who"
assert model.ir_version == 8 and model.opset_import[0].version == 17
W = (numpy.arange(128 * 128) % 7 - 3).reshape(128, 128)
x = numpy.arange(3 * 128).reshape(3, 128) % 5
expected = ((2 * x @ W + numpy.arange(128)) @ W).T
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
got = session.run(None, {"x": x.astype(numpy.float32)})[0]
assert (got == expected).all(), abs(got - expected).max()
)",
                      path + " " + std::to_string(num_external));
  }

  TemporaryFolder folder_;
  std::vector<float> weights_, biases_;
};

TEST_F(OnnxModelFileTest, SmallWeightsAreInTheModel) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const std::string path = folder_.file("model.onnx");
  const OnnxFileSizes sizes = write_onnx_model(path, graph(), {.data_name = "weights.data"});
  EXPECT_EQ(sizes.data_bytes, 0);
  EXPECT_EQ(sizes.model_bytes, static_cast<int64_t>(std::filesystem::file_size(path)));
  EXPECT_FALSE(std::filesystem::exists(folder_.file("weights.data")));
  EXPECT_EQ(read_back(path, 0), 0);
}

TEST_F(OnnxModelFileTest, LargeWeightsAreBesideIt) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const std::string path = folder_.file("model.onnx");
  const OnnxFileSizes sizes =
      write_onnx_model(path, graph(), {.data_name = "weights.data", .inline_bytes = 1 << 16});
  EXPECT_EQ(sizes.data_bytes, 2 << 16);
  EXPECT_LT(sizes.model_bytes, 4096);
  EXPECT_EQ(std::filesystem::file_size(folder_.file("weights.data")), 2u << 16);
  EXPECT_EQ(read_back(path, 2), 0);
}

TEST_F(OnnxModelFileTest, RefusesWhatNobodyCouldRead) {
  const std::string path = folder_.file("model.onnx");
  OnnxGraph empty("empty", 17);
  EXPECT_THROWS_WITH(write_onnx_model(path, empty, {.data_name = "data"}),
                     "expected a graph with an output");
  for (const char* name : {"", ".", "..", "../data", "/data"}) {
    EXPECT_THROWS_WITH(write_onnx_model(path, graph(), {.data_name = name}),
                       "a file's name without a folder");
  }
  for (const int64_t bytes : {int64_t{-1}, (int64_t{1} << 30) + 1}) {
    EXPECT_THROWS_WITH(
        write_onnx_model(path, graph(), {.data_name = "data", .inline_bytes = bytes}),
        "inline_bytes of 0 to 1 GiB");
  }
  EXPECT_THROWS_WITH(
      write_onnx_model(folder_.file("none/model.onnx"), graph(), {.data_name = "data"}),
      "Does its folder exist?");
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

}  // namespace
}  // namespace kvalign
