// Characters cut anywhere, and bytes that are none, against Python's decode(errors="replace").
#include "src/deploy/utf8_pieces.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "kvalign/core/files.h"
#include "kvalign/core/temporary_folder.h"
#include "tests/support/python.h"

namespace kvalign {
namespace {

// Fed `step` bytes at a time.
std::string in_pieces(const std::string& bytes, size_t step) {
  Utf8Pieces pieces;
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += step) text += pieces.add(bytes.substr(i, step));
  return text + pieces.finish();
}

TEST(Utf8PiecesTest, HoldsBackACharacterUntilItIsWhole) {
  Utf8Pieces pieces;
  EXPECT_EQ(pieces.add("a\xF0\x9F"), "a");
  EXPECT_EQ(pieces.add("\x98"), "");
  EXPECT_EQ(pieces.add("\x80z"), "\xF0\x9F\x98\x80z");
  EXPECT_EQ(pieces.finish(), "");
  EXPECT_EQ(pieces.add("\xE2\x82"), "");
  EXPECT_EQ(pieces.finish(), "\xEF\xBF\xBD");
}

TEST(Utf8PiecesTest, ReplacesWhatIsNoCharacterAsPythonDoes) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  const TemporaryFolder folder;
  // Bytes with structure: leads, continuations and ASCII, so that many are nearly characters.
  std::mt19937 random(1);
  const std::string choices =
      "az\x80\xBF\x9F\xA0\x8F\x90\xC0\xC1\xC2\xDF\xE0\xED\xEF\xF0\xF4\xF5\xFF";
  std::string bytes;
  for (int i = 0; i < 20000; ++i) bytes += choices[random() % choices.size()];
  write_file_atomically(folder.file("bytes"), bytes);
  ASSERT_EQ(
      run_python("import sys; text = open(sys.argv[1], \"rb\").read().decode(errors=\"replace\"); "
                 "open(sys.argv[2], \"wb\").write(text.encode())",
                 folder.file("bytes") + " " + folder.file("text")),
      0);
  const std::string expected = read_file(folder.file("text"));
  for (const size_t step : {1, 2, 3, 7, 20000}) EXPECT_EQ(in_pieces(bytes, step), expected);
}

}  // namespace
}  // namespace kvalign
