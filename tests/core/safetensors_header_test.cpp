// One test for each way in which a safetensors file can break the rules of its format, through the
// public interface. What good files hold is tested in safetensors_test.cpp.
#include <functional>
#include <string>

#include "kvalign/core/files.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/core/temporary_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

std::string length_of(uint64_t length) {
  return {reinterpret_cast<const char*>(&length), sizeof length};
}

class SafetensorsHeader : public ::testing::Test {
 protected:
  // A file with this header and so many bytes of data.
  SafetensorsFile open(const std::string& header, size_t data_size = 0) {
    return open_bytes(length_of(header.size()) + header + std::string(data_size, '\0'));
  }

  SafetensorsFile open_bytes(const std::string& bytes) {
    write_file_atomically(path_, bytes);
    return SafetensorsFile::open(path_);
  }

  // A file with one tensor `x` of this entry.
  SafetensorsFile open_entry(const std::string& entry, size_t data_size = 4) {
    return open("{\"x\":" + entry + "}", data_size);
  }

  SafetensorsFile open_shape(const std::string& shape, size_t data_size = 4) {
    return open_entry(R"({"dtype":"F32","shape":)" + shape + R"(,"data_offsets":[0,4]})",
                      data_size);
  }

  SafetensorsFile open_offsets(const std::string& offsets, size_t data_size = 4) {
    return open_entry(R"({"dtype":"F32","shape":[1],"data_offsets":)" + offsets + "}", data_size);
  }

  // Two tensors of one byte each.
  SafetensorsFile open_two(const std::string& offsets_a, const std::string& offsets_b,
                           size_t data_size) {
    const std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":)";
    return open("{\"a\":" + entry + offsets_a + "},\"b\":" + entry + offsets_b + "}}", data_size);
  }

  TemporaryFolder folder_;
  std::string path_ = folder_.file("pairs.safetensors");
};

TEST_F(SafetensorsHeader, MissingFileAndFolder) {
  EXPECT_THROWS_WITH(SafetensorsFile::open(path_), "cannot open '" + path_ + "': No such file");
  EXPECT_THROWS_WITH(SafetensorsFile::open(folder_.path()), "expected a regular file");
}

TEST_F(SafetensorsHeader, FileShorterThanItsLengthField) {
  EXPECT_THROWS_WITH(open_bytes(""), path_ + ": expected at least 8 bytes, got 0");
  EXPECT_THROWS_WITH(open_bytes("1234567"), "got 7. The file is damaged or was cut short");
}

TEST_F(SafetensorsHeader, HeaderTooLong) {
  EXPECT_THROWS_WITH(
      open_bytes(length_of(100'000'001) + "{}"),
      "header of 100000001 bytes, expected at most 100000000. Is this a safetensors");
  EXPECT_THROWS_WITH(open_bytes(length_of(UINT64_MAX) + "{}"),
                     "header of 18446744073709551615 bytes");
}

TEST_F(SafetensorsHeader, HeaderBeyondTheFile) {
  EXPECT_THROWS_WITH(open_bytes(length_of(3) + "{}"),
                     "the header should end at byte 11, the file has 10 bytes");
}

TEST_F(SafetensorsHeader, HeaderThatIsNoObject) {
  EXPECT_THROWS_WITH(open("[]"), "expected the header to start with '{'");
  EXPECT_THROWS_WITH(open(" {}"), "expected the header to start with '{'");
  EXPECT_THROWS_WITH(open(""), "expected the header to start with '{'");
}

TEST_F(SafetensorsHeader, InvalidJson) {
  EXPECT_THROWS_WITH(open("{\"x\":}"), path_ + ": the header is not valid JSON: ");
  EXPECT_THROWS_WITH(open("{} {}"), "the header is not valid JSON: ");
}

TEST_F(SafetensorsHeader, NulBytes) {
  EXPECT_THROWS_WITH(open(std::string("{}\0", 3)), "the header holds a NUL byte");
}

TEST_F(SafetensorsHeader, InvalidUtf8) {
  EXPECT_THROWS_WITH(open("{\"\xff\":3}"), "ill-formed UTF-8 byte");
}

TEST_F(SafetensorsHeader, DuplicateKeys) {
  const std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_THROWS_WITH(open("{\"x\":" + entry + ",\"x\":" + entry + "}", 1),
                     "the header names \"x\" twice");
  EXPECT_THROWS_WITH(open(R"({"__metadata__":{"a":"1","a":"2"}})"), "names \"a\" twice");
  EXPECT_THROWS_WITH(open_entry(R"({"dtype":"U8","dtype":"I8"})"), "names \"dtype\" twice");
}

TEST_F(SafetensorsHeader, NestedTooDeeply) {
  EXPECT_THROWS_WITH(open_shape("[[1]]"), "nested more than 3 levels deep");
  EXPECT_THROWS_WITH(open("{\"x\":" + std::string(1'000'000, '[')),
                     "nested more than 3 levels deep");
}

TEST_F(SafetensorsHeader, MetadataThatIsNotText) {
  EXPECT_THROWS_WITH(open(R"({"__metadata__":[]})"),
                     "expected __metadata__ to be an object, got []");
  EXPECT_THROWS_WITH(open(R"({"__metadata__":{"step":3}})"),
                     "expected metadata 'step' to be a string, got 3");
  EXPECT_THROWS_WITH(open(R"({"__metadata__":{"step":null}})"), "to be a string, got null");
}

TEST_F(SafetensorsHeader, EntryThatIsNoObject) {
  EXPECT_THROWS_WITH(open_entry("3"), path_ + ": tensor 'x': expected an object, got 3");
}

TEST_F(SafetensorsHeader, UnknownAndMissingFields) {
  EXPECT_THROWS_WITH(open_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"stride":[1]})"),
                     "tensor 'x': unknown field 'stride'; known: dtype, shape, data_offsets");
  EXPECT_THROWS_WITH(open_entry(R"({"shape":[1],"data_offsets":[0,4]})"),
                     "tensor 'x': the field dtype is missing");
  EXPECT_THROWS_WITH(open_entry(R"({"dtype":"F32","data_offsets":[0,4]})"), "shape is missing");
  EXPECT_THROWS_WITH(open_entry(R"({"dtype":"F32","shape":[1]})"), "data_offsets is missing");
}

TEST_F(SafetensorsHeader, UnknownDtype) {
  EXPECT_THROWS_WITH(
      open_entry(R"({"dtype":"F31","shape":[1],"data_offsets":[0,4]})"),
      "tensor 'x': unknown dtype \"F31\"; known: BOOL, U8, I8, F8_E5M2, F8_E4M3, I16, "
      "U16, F16, BF16, I32, U32, F32, F64, I64, U64");
  EXPECT_THROWS_WITH(open_entry(R"({"dtype":7,"shape":[1],"data_offsets":[0,4]})"),
                     "unknown dtype 7; known: ");
}

TEST_F(SafetensorsHeader, ShapeThatIsNoListOfSizes) {
  EXPECT_THROWS_WITH(open_shape("1"), "tensor 'x': expected a list as shape, got 1");
  EXPECT_THROWS_WITH(open_shape("[-1]"), "expected a shape of integers of 0 to 2^63 - 1, got -1");
  EXPECT_THROWS_WITH(open_shape("[1.0]"), "got 1.0");
  EXPECT_THROWS_WITH(open_shape("[\"1\"]"), "got \"1\"");
  EXPECT_THROWS_WITH(open_shape("[9223372036854775808]"), "got 9223372036854775808");
  EXPECT_THROWS_WITH(open_shape("[18446744073709551616]"), "got 1.8446744073709552e+19");
}

TEST_F(SafetensorsHeader, ShapeThatOverflows) {
  EXPECT_THROWS_WITH(open_shape("[4294967296,4294967296]"),
                     "the shape [4294967296,4294967296] overflows 64 bits");
  // 2^62 elements fit, their bytes do not.
  EXPECT_THROWS_WITH(open_shape("[4611686018427387904]"), "overflows 64 bits");
  EXPECT_THROWS_WITH(open_shape("[0,4294967296,4294967296]"), "overflows 64 bits");
}

TEST_F(SafetensorsHeader, OffsetsThatAreNotTwoIntegers) {
  EXPECT_THROWS_WITH(open_offsets("[4]"), "expected data_offsets to be two integers, got [4]");
  EXPECT_THROWS_WITH(open_offsets("[0,4,8]"), "expected data_offsets to be two integers");
  EXPECT_THROWS_WITH(open_offsets("4"), "expected data_offsets to be two integers, got 4");
  EXPECT_THROWS_WITH(open_offsets("[-4,0]"), "expected data_offsets of integers of 0 to");
  EXPECT_THROWS_WITH(open_offsets("[0,4.5]"), "expected data_offsets of integers of 0 to");
}

TEST_F(SafetensorsHeader, OffsetsInTheWrongOrder) {
  EXPECT_THROWS_WITH(open_offsets("[4,0]"), "data_offsets begin after they end: [4,0]");
}

TEST_F(SafetensorsHeader, SizeThatDoesNotFitTheShape) {
  EXPECT_THROWS_WITH(open_offsets("[0,8]", 8),
                     "expected 4 bytes for shape [1] of F32, got 8 (data_offsets [0,8])");
  EXPECT_THROWS_WITH(open_shape("[0]"), "expected 0 bytes for shape [0] of F32, got 4");
}

TEST_F(SafetensorsHeader, TruncatedData) {
  EXPECT_THROWS_WITH(
      open_offsets("[0,4]", 3),
      "tensor 'x': data_offsets end at byte 4 of the data, the file has 3. The file is "
      "damaged or was cut short");
}

TEST_F(SafetensorsHeader, Holes) {
  EXPECT_THROWS_WITH(open_two("[0,1]", "[2,3]", 3),
                     "tensor 'b': starts at byte 2 of the data and leaves a hole after byte 1");
  EXPECT_THROWS_WITH(open_two("[1,2]", "[2,3]", 3),
                     "tensor 'a': starts at byte 1 of the data and leaves");
}

TEST_F(SafetensorsHeader, Overlaps) {
  EXPECT_THROWS_WITH(
      open_two("[0,1]", "[0,1]", 1),
      "tensor 'b': starts at byte 0 of the data and overlaps a tensor that ends at 1");
}

TEST_F(SafetensorsHeader, TrailingBytes) {
  EXPECT_THROWS_WITH(open_two("[0,1]", "[1,2]", 5),
                     path_ + ": the tensors end at byte 2 of the data, but 3 bytes follow");
  EXPECT_THROWS_WITH(open("{}", 1), "the tensors end at byte 0 of the data, but 1 bytes follow");
}

TEST_F(SafetensorsHeader, LongValuesAreCutInErrorTexts) {
  try {
    open_entry("\"" + std::string(10'000, 'z') + "\"");
    ADD_FAILURE() << "did not throw";
  } catch (const c10::Error& error) {
    EXPECT_LT(std::string(error.what_without_backtrace()).size(), 400u);
  }
}

TEST_F(SafetensorsHeader, WhatTheFormatPermitsIsRead) {
  EXPECT_TRUE(open("{}").tensors().empty());
  EXPECT_EQ(open("{\"__metadata__\":{\"a\":\"b\"}}   ").metadata().at("a"), "b");
  EXPECT_EQ(open_two("[1,2]", "[0,1]", 2).tensors().size(), 2u);
  EXPECT_EQ(open_shape("[]").info("x").shape.size(), 0u);
  const std::string empty = R"({"dtype":"F32","shape":[3,0],"data_offsets":[0,0]})";
  EXPECT_EQ(open("{\"x\":" + empty + ",\"y\":" + empty + "}").info("y").shape[0], 3);
}

}  // namespace
}  // namespace kvalign
