// Files appear whole or not at all, and every failure of the system is reported with its reason.
#include "kvalign/core/files.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "kvalign/core/temporary_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

size_t count_files(const std::string& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder),
                                           std::filesystem::directory_iterator()));
}

// Lets no file of this process grow beyond `bytes` while it lives: a full disk for one test.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);  // so that write() returns an error
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limited{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limited);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST(Files, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  for (const std::string& bytes :
       {std::string(), std::string("\0x", 2), std::string(100'000, 'y')}) {
    write_file_atomically(path, bytes);
    EXPECT_EQ(read_file(path), bytes);
  }
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(Files, ReadsFilesThatReportNoSize) {
  EXPECT_THAT(read_file("/proc/self/status"), ::testing::HasSubstr("VmPeak"));
}

TEST(Files, ARelativePathNeedsNoFolder) {
  const TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_file_atomically("bare", "text");
  std::filesystem::current_path(before);
  EXPECT_EQ(read_file(folder.file("bare")), "text");
}

TEST(AtomicFile, IsInvisibleUntilCommitAndLeavesNothingWithoutIt) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  write_file_atomically(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
    EXPECT_EQ(read_file(path), "old");
  }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(AtomicFile, ObeysTheUmask) {
  const TemporaryFolder folder;
  const mode_t before = ::umask(027);
  write_file_atomically(folder.file("a"), "");
  ::umask(before);
  struct stat status {};
  ASSERT_EQ(::stat(folder.file("a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0640u);
}

TEST(AtomicFile, WritersOfOnePathDoNotMixTheirBytes) {
  const TemporaryFolder folder;
  std::vector<std::thread> writers;
  for (char letter : {'a', 'b', 'c', 'd'}) {
    writers.emplace_back([&folder, letter] {
      for (int i = 0; i < 20; ++i)
        write_file_atomically(folder.file("x"), std::string(9999, letter));
    });
  }
  for (std::thread& writer : writers) writer.join();
  const std::string bytes = read_file(folder.file("x"));
  EXPECT_EQ(bytes, std::string(9999, bytes.front()));
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(AtomicFile, NamesTheMissingFolder) {
  EXPECT_THROWS_WITH(AtomicFile("/nowhere/a"), "cannot create '/nowhere/a.tmp-");
  EXPECT_THROWS_WITH(AtomicFile("/nowhere/a"), "No such file or directory. Does its folder exist?");
}

TEST(AtomicFile, AFullDiskIsAnErrorAndKeepsTheOldFile) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  write_file_atomically(path, "old");
  {
    const FullDisk full(1000);
    EXPECT_THROWS_WITH(write_file_atomically(path, std::string(5000, 'x')),
                       "cannot write '" + path + "': File too large");
  }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(AtomicFile, CannotReplaceAFolder) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("taken"));
  EXPECT_THROWS_WITH(write_file_atomically(folder.file("taken"), "x"),
                     "cannot rename a temporary file to '" + folder.file("taken") + "'");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(Files, NamesWhatItCannotRead) {
  const TemporaryFolder folder;
  EXPECT_THROWS_WITH(read_file("/nowhere/a"), "cannot open '/nowhere/a': No such file");
  EXPECT_THROWS_WITH(read_file(folder.path()),
                     "cannot read '" + folder.path() + "': Is a directory");
}

}  // namespace
}  // namespace kvalign
