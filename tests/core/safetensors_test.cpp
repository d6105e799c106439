// What is written is read, whatever its dtype and shape; views, copies and checks are what the
// header says. Broken files are in safetensors_header_test.cpp, the official package in
// safetensors_interop_test.cpp.
#include "kvalign/core/safetensors.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "kvalign/core/files.h"
#include "kvalign/core/temporary_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

class Safetensors : public ::testing::Test {
 protected:
  SafetensorsFile round_trip(const std::vector<NamedTensor>& tensors,
                             const std::map<std::string, std::string>& metadata = {}) {
    write_safetensors(path_, tensors, metadata);
    return SafetensorsFile::open(path_);
  }

  TemporaryFolder folder_;
  std::string path_ = folder_.file("a.safetensors");
};

// Equal to the last bit, which also compares NaN and FP8.
void expect_same_bytes(const at::Tensor& left, const at::Tensor& right) {
  ASSERT_EQ(left.scalar_type(), right.scalar_type());
  ASSERT_EQ(left.sizes(), right.sizes());
  const at::Tensor expected = right.contiguous();
  if (expected.nbytes() == 0) return;  // memcmp takes no null, not even for no bytes
  EXPECT_EQ(std::memcmp(left.data_ptr(), expected.data_ptr(), expected.nbytes()), 0);
}

const at::ScalarType kAllDtypes[] = {at::kBool,          at::kByte,  at::kChar,   at::kFloat8_e5m2,
                                     at::kFloat8_e4m3fn, at::kShort, at::kUInt16, at::kHalf,
                                     at::kBFloat16,      at::kInt,   at::kUInt32, at::kFloat,
                                     at::kDouble,        at::kLong,  at::kUInt64};

TEST_F(Safetensors, EveryDtypeAndAwkwardShapeComesBack) {
  std::vector<NamedTensor> tensors;
  for (const at::ScalarType dtype : kAllDtypes) {
    for (const std::vector<int64_t>& shape :
         {std::vector<int64_t>{}, {1}, {3, 5}, {2, 0, 7}, {1, 1, 1, 13}}) {
      const at::Tensor values = at::randint(0, 2, shape).to(dtype);
      tensors.push_back(
          {std::string(safetensors_dtype_name(dtype)) + c10::str(values.sizes()), values});
    }
  }
  const SafetensorsFile file = round_trip(tensors, {{"key", "value"}, {"", "\n\"\xc3\xa4"}});
  EXPECT_EQ(file.tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    SCOPED_TRACE(name);
    expect_same_bytes(file.tensor(name), tensor);
  }
  EXPECT_EQ(file.metadata().at(""), "\n\"\xc3\xa4");
  EXPECT_EQ(file.path(), path_);
}

TEST_F(Safetensors, StridesAndGradientsDoNotReachTheFile) {
  const at::Tensor values = at::rand({4, 6}).set_requires_grad(true);
  const SafetensorsFile file = round_trip({{"turned", values.t()},
                                           {"part", values.slice(1, 1, 6, 2)},
                                           {"row", values[0].expand({3, 6})}});
  expect_same_bytes(file.tensor("turned"), values.detach().t());
  expect_same_bytes(file.tensor("part"), values.detach().slice(1, 1, 6, 2));
  expect_same_bytes(file.tensor("row"), values.detach()[0].expand({3, 6}));
}

TEST_F(Safetensors, TensorsAreViewsThatOutliveTheFile) {
  at::Tensor first, second;
  {
    const SafetensorsFile file = round_trip({{"x", at::arange(5)}});
    first = file.tensor("x");
    second = file.tensor("x");
  }
  std::filesystem::remove(path_);
  EXPECT_EQ(first.data_ptr(), second.data_ptr());
  EXPECT_TRUE(at::equal(first, at::arange(5)));
}

// Memory of this process that is pages of files.
int64_t resident_file_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "RssFile:") continue;
    int64_t kib = 0;
    status >> kib;
    return kib;
  }
  return -1;
}

TEST_F(Safetensors, LetsGoOfPagesAndReadsThemAgain) {
  const SafetensorsFile file = round_trip({{"x", at::ones({8 << 20})}});  // 32 MiB
  const at::Tensor x = file.tensor("x");
  const int64_t before = resident_file_kib();
  ASSERT_EQ(x.sum().item<double>(), 8 << 20);
  EXPECT_GT(resident_file_kib(), before + (30 << 10));
  file.let_go_of_pages();
  EXPECT_LT(resident_file_kib(), before + (4 << 10));
  EXPECT_EQ(x.sum().item<double>(), 8 << 20);
}

TEST_F(Safetensors, AWriteIntoATensorNeverReachesTheFile) {
  round_trip({{"x", at::arange(5)}}).tensor("x").zero_();
  EXPECT_TRUE(at::equal(SafetensorsFile::open(path_).tensor("x"), at::arange(5)));
}

TEST_F(Safetensors, MisalignedTensorsAreCopies) {
  // A header of 62 bytes: the data starts at byte 70.
  const std::string header = R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}        )";
  ASSERT_NE((header.size() + 8) % 4, 0u);
  const uint64_t length = header.size();
  const float values[] = {1.5f, -2.0f};
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  bytes.append(header).append(reinterpret_cast<const char*>(values), sizeof values);
  write_file_atomically(path_, bytes);
  const at::Tensor tensor = SafetensorsFile::open(path_).tensor("x");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 4, 0u);
  EXPECT_TRUE(at::equal(tensor, at::tensor({1.5f, -2.0f})));
}

TEST_F(Safetensors, NamesMissingTensorsAndWhatThereIs) {
  const SafetensorsFile file = round_trip({{"b", at::zeros(1)}, {"a", at::zeros(1)}});
  EXPECT_TRUE(file.contains("a"));
  EXPECT_FALSE(file.contains("c"));
  EXPECT_THROWS_WITH(file.tensor("c"), path_ + ": no tensor 'c'; it has 2 tensors: a, b");
  EXPECT_THROWS_WITH(file.check_finite("c"), "no tensor 'c'");
  EXPECT_THROWS_WITH(round_trip({}).info("c"), "no tensor 'c'; it has 0 tensors");
  std::vector<NamedTensor> many;
  for (int i = 0; i < 1000; ++i) many.push_back({"layer." + std::to_string(i), at::zeros(1)});
  EXPECT_THROWS_WITH(round_trip(many).info("c"), ", ...");
}

TEST_F(Safetensors, RefusesBoolsThatAreNeitherTrueNorFalse) {
  at::Tensor bytes = at::zeros({6}, at::kByte);
  write_safetensors(path_, {{"x", bytes.to(at::kBool)}});
  std::string text = read_file(path_);
  text[text.size() - 2] = 7;
  write_file_atomically(path_, text);
  EXPECT_THROWS_WITH(SafetensorsFile::open(path_).tensor("x"),
                     "tensor 'x': expected bytes 0 and 1 in a BOOL tensor, got 7 at element 4");
}

TEST_F(Safetensors, CheckFiniteNamesTheFirstBadIndex) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const at::ScalarType dtype :
       {at::kHalf, at::kBFloat16, at::kFloat, at::kDouble, at::kFloat8_e5m2}) {
    at::Tensor values = at::ones({3, 4, 5});
    values[1][2][3] = -infinity;
    values[2][0][0] = NAN;
    const SafetensorsFile file = round_trip({{"weight", values.to(dtype)}});
    EXPECT_THROWS_WITH(file.check_finite("weight"),
                       path_ +
                           ": tensor 'weight': expected finite values, got -inf at index [1, 2, 3] "
                           "of [3, 4, 5]. Was it made by a run that diverged");
  }
}

TEST_F(Safetensors, CheckFiniteLooksBeyondItsFirstBlock) {
  at::Tensor values = at::zeros({(1 << 20) + 3});
  values[(1 << 20) + 1] = NAN;
  EXPECT_THROWS_WITH(round_trip({{"w", values}}).check_finite("w"), "got nan at index [1048577]");
}

TEST_F(Safetensors, CheckFinitePassesWhatIsFinite) {
  const SafetensorsFile file = round_trip({{"large", at::full({2}, 1e300, at::kDouble)},
                                           {"empty", at::zeros({0, 3})},
                                           {"scalar", at::zeros({})},
                                           {"fp8", at::ones({2}).to(at::kFloat8_e4m3fn)},
                                           {"integers", at::full({2}, INT64_MAX, at::kLong)}});
  for (const auto& [name, info] : file.tensors()) EXPECT_NO_THROW(file.check_finite(name));
}

TEST_F(Safetensors, RefusesToWriteWhatTheFormatCannotHold) {
  const at::Tensor x = at::zeros(2);
  EXPECT_THROWS_WITH(round_trip({{"x", x}, {"x", x}}), path_ + ": two tensors are called 'x'");
  EXPECT_THROWS_WITH(round_trip({{"__metadata__", x}}), "no tensor can be called __metadata__");
  EXPECT_THROWS_WITH(round_trip({{"x", at::Tensor()}}), "tensor 'x' is undefined");
  EXPECT_THROWS_WITH(round_trip({{"x", at::zeros({2}, at::kComplexFloat)}}),
                     "tensor 'x': safetensors files cannot hold ComplexFloat");
  EXPECT_THROWS_WITH(round_trip({{"x", at::eye(2).to_sparse()}}),
                     "tensor 'x': expected a dense tensor, got Sparse. Call to_dense() first");
  EXPECT_THROWS_WITH(round_trip({{"\xff", x}}), "expected a tensor name in UTF-8, got \"\\ufffd\"");
  EXPECT_THROWS_WITH(round_trip({}, {{"\xff", ""}}), "expected a metadata key in UTF-8");
  EXPECT_THROWS_WITH(round_trip({}, {{"", "\xff"}}), "expected a metadata value in UTF-8");
  EXPECT_THROWS_WITH(round_trip({}, {{"m", std::string(100'000'000, 'x')}}),
                     "bytes, readers accept at most 100000000. Put less into the metadata");
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(Safetensors, AMissingFolderIsNamed) {
  EXPECT_THROWS_WITH(write_safetensors("/nowhere/a", {}), "cannot create '/nowhere/a.tmp-");
}

TEST_F(Safetensors, DtypesThatTheFormatLacksHaveNoName) {
  EXPECT_EQ(safetensors_dtype_name(at::kComplexDouble), "");
  EXPECT_EQ(safetensors_dtype_name(at::kBFloat16), "BF16");
}

}  // namespace
}  // namespace kvalign
