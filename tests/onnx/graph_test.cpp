// Each rule of a graph, broken once.
#include "kvalign/onnx/graph.h"

#include <gtest/gtest.h>

#include "tests/support/throws.h"

namespace kvalign {
namespace {

constexpr std::string_view kEightBytes = "01234567";

TEST(OnnxGraph, KeepsWhatIsAdded) {
  OnnxGraph graph("sum", 17);
  graph.add_input({.name = "x", .shape = {kOnnxTokens, 2}});
  graph.add_constant({{.name = "c", .shape = {2}}, kEightBytes});
  graph.add_node({"Add", {"x", "c"}, {"y"}, {}});
  graph.add_output({.name = "y", .shape = {kOnnxTokens, 2}});
  graph.set_metadata("kind", "a");
  graph.set_metadata("kind", "b");
  EXPECT_EQ(graph.inputs().size() + graph.constants().size() + graph.nodes().size(), 3u);
  EXPECT_EQ(graph.outputs()[0].name, "y");
  ASSERT_EQ(graph.metadata().size(), 1u);
  EXPECT_EQ(graph.metadata()[0].second, "b");
}

TEST(OnnxGraph, RefusesWhatIsNoGraph) {
  EXPECT_THROWS_WITH(OnnxGraph("g", 16), "expected an opset of 17");
  EXPECT_THROWS_WITH(OnnxGraph("g", 24), "to 23, got 24");
  OnnxGraph graph("g", 17);
  graph.add_input({.name = "x"});
  EXPECT_THROWS_WITH(graph.add_input({.name = "x"}), "two values of the name x");
  EXPECT_THROWS_WITH(graph.add_input({.name = ""}), "got an empty one");
  EXPECT_THROWS_WITH(graph.add_node({"Relu", {"y"}, {"z"}, {}}),
                     "Relu reads y, which is not there");
  EXPECT_THROWS_WITH(graph.add_node({"Relu", {"x"}, {"x"}, {}}), "two values of the name x");
  EXPECT_THROWS_WITH(graph.add_node({"Relu", {"x"}, {}, {}}), "a node Relu with an output");
  EXPECT_THROWS_WITH(graph.add_output({.name = "z"}), "the caller reads z");
  graph.add_output({.name = "x"});
  EXPECT_THROWS_WITH(graph.add_output({.name = "x"}), "two outputs of the name x");
}

TEST(OnnxGraph, RefusesConstantsOfAnotherSize) {
  OnnxGraph graph("g", 17);
  EXPECT_THROWS_WITH(graph.add_constant({{.name = "c", .shape = {3}}, kEightBytes}),
                     "constant c: expected 12 bytes, got 8");
  EXPECT_THROWS_WITH(graph.add_constant({{.name = "c", .shape = {kOnnxTokens}}, kEightBytes}),
                     "expected lengths from 0");
  EXPECT_THROWS_WITH(
      graph.add_constant({{.name = "c", .shape = {int64_t{1} << 40, int64_t{1} << 40}}, {}}),
      "whose product is a size");
  EXPECT_THROWS_WITH(onnx_type_bytes(static_cast<OnnxType>(3)), "unknown type 3");
}

}  // namespace
}  // namespace kvalign
