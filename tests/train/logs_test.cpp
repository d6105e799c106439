// The two logs of a run, and the file under them that can be cut back.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "kvalign/core/files.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/train/append_file.h"
#include "kvalign/train/metrics_log.h"
#include "kvalign/train/tensorboard.h"
#include "tests/support/python.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

TEST(AppendFile, GrowsAndIsCutBack) {
  TemporaryFolder folder;
  {
    AppendFile file(folder.file("log"), 0);
    file.append("first\n");
    file.append("second\n");
    file.sync();
    EXPECT_EQ(file.size_bytes(), 13);
  }
  AppendFile file(folder.file("log"), 6);
  file.append("other\n");
  EXPECT_EQ(read_file(folder.file("log")), "first\nother\n");
}

TEST(AppendFile, RefusesAFileThatLostBytes) {
  TemporaryFolder folder;
  write_file_atomically(folder.file("log"), "short");
  EXPECT_THROWS_WITH(AppendFile(folder.file("log"), 6), "expected at least 6 bytes");
}

TEST(AppendFile, NamesAFolderThatIsMissing) {
  EXPECT_THROWS_WITH(AppendFile("/nowhere/log", 0),
                     "/nowhere/log: cannot open for appending: No such file");
}

TEST(AppendFile, NamesTheFileOnAFullDisk) {
  AppendFile file("/dev/null", 0);
  EXPECT_NO_THROW(file.append("gone"));
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "this machine has no /dev/full";
  EXPECT_THROWS_WITH(AppendFile("/dev/full", 0).append("x"), "/dev/full: cannot append: No space");
}

TEST(MetricsLog, WritesOneObjectALine) {
  TemporaryFolder folder;
  MetricsLog log(folder.file("metrics.jsonl"), 0);
  log.event("train_step", {{"step", 3}, {"loss", 0.1}});
  const double infinity = std::numeric_limits<double>::infinity();
  log.event("train_step", {{"step", 4}, {"loss", infinity}});
  const std::string text = read_file(folder.file("metrics.jsonl"));
  EXPECT_EQ(static_cast<int64_t>(text.size()), log.size_bytes());
  const size_t end = text.find('\n');
  EXPECT_TRUE(text.starts_with("{\"event\":\"train_step\",\"time\":"));
  const auto first = nlohmann::json::parse(text.substr(0, end));
  EXPECT_EQ(first["step"], 3);
  EXPECT_EQ(first["loss"], 0.1);
  EXPECT_TRUE(nlohmann::json::parse(text.substr(end + 1))["loss"].is_null());
}

TEST(EventWriter, IsReadBackByTensorBoard) {
  KVALIGN_SKIP_WITHOUT_PYTHON();
  TemporaryFolder folder;
  const std::string path = folder.file("events.out.tfevents.test");
  int64_t keep_bytes = 0;
  {
    EventWriter writer(path, 0);
    writer.scalar("train/loss", 1, 0.5f);
    writer.scalar("train/loss", 300, -2.25f);
    writer.sync();
    keep_bytes = writer.size_bytes();
    writer.scalar("train/loss", 301, 99.0f);  // to be forgotten
  }
  EventWriter writer(path, keep_bytes);
  writer.scalar("validation/loss", int64_t{1} << 40, 1e-20f);
  const std::string script = R"(
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]); events.Reload()
points = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
assert events.file_version == 2.0, events.file_version
assert points["train/loss"] == [(1, 0.5), (300, -2.25)], points
(step, value), = points["validation/loss"]
assert step == 2**40 and abs(value - 1e-20) < 1e-26, points
)";
  EXPECT_EQ(run_python(script, path + " 2>&1"), 0);
}

}  // namespace
}  // namespace kvalign
