// SHA-256 against the vectors of FIPS 180-4, and files against bytes.
#include "kvalign/core/sha256.h"

#include "kvalign/core/files.h"
#include "kvalign/core/temporary_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

TEST(Sha256, MatchesPublishedVectors) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, OfAFileIsThatOfItsBytes) {
  const TemporaryFolder folder;
  // One byte more than the reader's block.
  const std::string bytes((1 << 20) + 1, 'x');
  write_file_atomically(folder.file("bytes"), bytes);
  EXPECT_EQ(sha256_of_file(folder.file("bytes")), sha256_hex(bytes));
}

TEST(Sha256, NamesTheFileThatItCannotRead) {
  const TemporaryFolder folder;
  EXPECT_THROWS_WITH(sha256_of_file("/nowhere/pairs"),
                     "cannot open '/nowhere/pairs': No such file or directory");
  EXPECT_THROWS_WITH(sha256_of_file(folder.path()),
                     "cannot read '" + folder.path() + "': Is a directory");
}

}  // namespace
}  // namespace kvalign
