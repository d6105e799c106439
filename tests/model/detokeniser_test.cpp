// Token ids to text, on a tokenizer.json written here; the ids are those of the `tokenizers`
// package for it.
#include "kvalign/model/detokeniser.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "kvalign/core/temporary_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

// "Ġ" is a space, "Ċ" a line break, "Ã" and "¤" the two bytes of "ä", "Ģ" byte 0x80.
constexpr const char* kTokenizer = R"({
  "added_tokens": [{"id": 6, "content": "<|end|>", "special": true}],
  "decoder": {"type": "Sequence", "decoders": [{"type": "ByteLevel"}]},
  "model": {"type": "BPE",
            "vocab": {"a": 0, "Ġa": 1, "Ċ": 2, "Ã": 3, "¤": 4, "Ģ": 5, "<|end|>": 6}}})";

TemporaryFolder& folder_with(TemporaryFolder& folder, const std::string& json) {
  std::ofstream(folder.file("tokenizer.json")) << json;
  return folder;
}

TEST(Detokeniser, TurnsTokensIntoText) {
  TemporaryFolder folder;
  const Detokeniser detokeniser = Detokeniser::open(folder_with(folder, kTokenizer).path());
  EXPECT_EQ(detokeniser.text({0, 1, 2, 3, 4, 6}), "a a\n\xc3\xa4<|end|>");
  EXPECT_EQ(detokeniser.text({3}), "\xc3");
  EXPECT_EQ(detokeniser.text({5}), "\x80");
  EXPECT_EQ(detokeniser.text({}), "");
  EXPECT_THROWS_WITH(detokeniser.text({7}), "got 7");
}

TEST(Detokeniser, RefusesOtherTokenisers) {
  TemporaryFolder folder;
  EXPECT_THROWS_WITH(Detokeniser::open(folder.path()), "tokenizer.json");
  EXPECT_THROWS_WITH(Detokeniser::open(folder_with(folder, "{").path()), "expected a JSON object");
  EXPECT_THROWS_WITH(Detokeniser::open(folder_with(folder, R"({"model": {"vocab": {"a": 0}},
      "decoder": {"type": "WordPiece"}})")
                                           .path()),
                     "expected a byte-level BPE model");
  EXPECT_THROWS_WITH(Detokeniser::open(folder_with(folder, R"({"model": {"vocab": []}})").path()),
                     "expected a byte-level BPE model");
  EXPECT_THROWS_WITH(Detokeniser::open(folder_with(folder, R"({"model": {"vocab": {"a": "0"}},
      "decoder": {"type": "ByteLevel"}})")
                                           .path()),
                     "expected whole numbers");
  EXPECT_THROWS_WITH(Detokeniser::open(folder_with(folder, R"({"model": {"vocab": {"▁a": 0}},
      "decoder": {"type": "ByteLevel"}})")
                                           .path()),
                     "expected characters of byte-level BPE");
}

}  // namespace
}  // namespace kvalign
