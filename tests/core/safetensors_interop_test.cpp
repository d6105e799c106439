// Files go back and forth between this reader and writer and the official Python package.
#include <ATen/ATen.h>

#include "kvalign/core/files.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/core/temporary_folder.h"
#include "tests/support/python.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

// All dtypes that numpy has, too; F8 and BF16 go through their bytes below.
std::vector<NamedTensor> numbers() {
  std::vector<NamedTensor> tensors;
  for (const at::ScalarType dtype :
       {at::kByte, at::kChar, at::kShort, at::kUInt16, at::kHalf, at::kInt, at::kUInt32, at::kFloat,
        at::kDouble, at::kLong, at::kUInt64}) {
    tensors.push_back(
        {std::string(safetensors_dtype_name(dtype)), at::arange(24).reshape({2, 3, 4}).to(dtype)});
  }
  tensors.push_back({"BOOL", at::arange(5).remainder(2).to(at::kBool)});
  tensors.push_back({"sc\xc3\xa4lar \"quoted\"", at::scalar_tensor(2.5)});
  tensors.push_back({"empty", at::zeros({0, 3})});
  return tensors;
}

// The same tensors in Python.
constexpr const char* kNumbersInPython = R"(
import sys, numpy
from safetensors.numpy import load_file, save_file
from safetensors import safe_open
names = dict(U8="uint8", I8="int8", I16="int16", U16="uint16", F16="float16", I32="int32",
             U32="uint32", F32="float32", F64="float64", I64="int64", U64="uint64")
numbers = {key: numpy.arange(24).reshape(2, 3, 4).astype(name) for key, name in names.items()}
numbers["BOOL"] = numpy.arange(5) % 2 == 1
numbers["sc\u00e4lar \"quoted\""] = numpy.array(2.5, dtype="float32")
numbers["empty"] = numpy.zeros((0, 3), dtype="float32")
)";

TEST(SafetensorsInterop, TheOfficialPackageReadsWhatWeWrite) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const TemporaryFolder folder;
  write_safetensors(folder.file("ours"), numbers(), {{"kind", "m\xc3\xbc"}, {"b", ""}});
  const std::string script = std::string(kNumbersInPython) + R"(
loaded = load_file(sys.argv[1])
assert sorted(loaded) == sorted(numbers), sorted(loaded)
for key, expected in numbers.items():
    got = loaded[key]
    assert got.dtype == expected.dtype and got.shape == expected.shape, (key, got.dtype, got.shape)
    assert (got == expected).all(), key
with safe_open(sys.argv[1], framework="numpy") as file:
    assert file.metadata() == {"kind": "m\u00fc", "b": ""}, file.metadata()
)";
  EXPECT_EQ(run_python(script, folder.file("ours")), 0);
}

TEST(SafetensorsInterop, WeReadWhatTheOfficialPackageWrites) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const TemporaryFolder folder;
  const std::string script = std::string(kNumbersInPython) + R"(
save_file(numbers, sys.argv[1], metadata={"kind": "m\u00fc"})
)";
  ASSERT_EQ(run_python(script, folder.file("theirs")), 0);
  const SafetensorsFile file = SafetensorsFile::open(folder.file("theirs"));
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"kind", "m\xc3\xbc"}}));
  EXPECT_EQ(file.tensors().size(), numbers().size());
  for (const auto& [name, expected] : numbers()) {
    const at::Tensor tensor = file.tensor(name);
    EXPECT_EQ(tensor.scalar_type(), expected.scalar_type()) << name;
    EXPECT_TRUE(at::equal(tensor.to(at::kDouble), expected.to(at::kDouble))) << name;
  }
}

TEST(SafetensorsInterop, BothWriteTheSameBytes) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const TemporaryFolder folder;
  write_safetensors(folder.file("ours"), numbers(), {{"kind", "test"}});
  const std::string script = std::string(kNumbersInPython) + R"(
save_file(numbers, sys.argv[1], metadata={"kind": "test"})
)";
  ASSERT_EQ(run_python(script, folder.file("theirs")), 0);
  EXPECT_EQ(read_file(folder.file("ours")), read_file(folder.file("theirs")));
}

TEST(SafetensorsInterop, SmallFloatsKeepTheirBits) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const TemporaryFolder folder;
  const at::Tensor values = at::arange(-8, 8).to(at::kFloat);
  write_safetensors(folder.file("ours"), {{"BF16", values.to(at::kBFloat16)},
                                          {"F8_E4M3", values.to(at::kFloat8_e4m3fn)},
                                          {"F8_E5M2", values.to(at::kFloat8_e5m2)}});
  // numpy has none of them: the package's low-level interface gives and takes bytes.
  const std::string script = R"(
import sys
from safetensors import deserialize, serialize_file
tensors = dict(deserialize(open(sys.argv[1], "rb").read()))
names = dict(BF16="bfloat16", F8_E4M3="float8_e4m3fn", F8_E5M2="float8_e5m2")
for name, tensor in tensors.items():
    assert tensor["dtype"] == name and tensor["shape"] == [16], (name, tensor)
serialize_file({name: dict(dtype=names[name], shape=[16], data=bytes(tensor["data"]))
                for name, tensor in tensors.items()}, sys.argv[2], None)
)";
  ASSERT_EQ(run_python(script, folder.file("ours") + " " + folder.file("theirs")), 0);
  EXPECT_EQ(read_file(folder.file("ours")), read_file(folder.file("theirs")));
}

}  // namespace
}  // namespace kvalign
