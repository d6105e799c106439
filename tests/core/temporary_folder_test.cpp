// Temporary folders: there, private, and gone with everything in them.
#include "kvalign/core/temporary_folder.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "kvalign/core/files.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

TEST(TemporaryFolder, IsRemovedWithEverythingInIt) {
  std::string path;
  {
    const TemporaryFolder folder, other;
    path = folder.path();
    EXPECT_NE(path, other.path());
    EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms::owner_all);
    std::filesystem::create_directory(folder.file("inner"));
    write_file_atomically(folder.file("inner/file"), "text");
    EXPECT_EQ(read_file(path + "/inner/file"), "text");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(TemporaryFolder, SaysWhereItCannotBeMade) {
  const char* before = getenv("TMPDIR");
  const std::string kept = before ? before : "";
  setenv("TMPDIR", "/proc", 1);  // where nobody makes a folder
  EXPECT_THROWS_WITH(TemporaryFolder(), "cannot make the temporary folder /proc/kvalign-");
  before ? setenv("TMPDIR", kept.c_str(), 1) : unsetenv("TMPDIR");
}

}  // namespace
}  // namespace kvalign
