// Targets: the shipped files hold what the makers' data sheets say, and mistakes in a file are
// refused by name.
#include "kvalign/evaluate/target.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "kvalign/core/temporary_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

const std::string kTargets = KVALIGN_SOURCE_DIR "/configs/targets/";

// In 10^12 operations a second, 10^9 bytes a second and watts: figures of the data sheets, dense.
struct Sheet {
  std::string file;
  double float32, float16, bfloat16, float8, gigabytes_per_second, watts;
};
const std::vector<Sheet> kSheets = {
    {"a100-40gb", 19.5, 312, 312, 0, 1555, 400},
    {"a100-80gb", 19.5, 312, 312, 0, 2039, 400},
    {"h100", 66.9, 989.4, 989.4, 1978.9, 3350, 700},
    {"h200", 67, 989.5, 989.5, 1979, 4800, 700},
    {"jetson-nano", 0.236, 0.472, 0, 0, 25.6, 10},
    {"jetson-orin-nano", 1.28, 10.24, 10.24, 0, 68, 15},
    {"jetson-agx-orin", 5.3, 42.5, 42.5, 0, 204.8, 60},
};

TEST(Target, ShippedFilesHoldTheFiguresOfTheDataSheets) {
  for (const Sheet& sheet : kSheets) {
    SCOPED_TRACE(sheet.file);
    const Target target = read_target(kTargets + sheet.file + ".yaml");
    const PeakFlops& peak = target.peak_flops_per_second;
    const auto near = [](double value, double tera) {
      EXPECT_NEAR(value, tera * 1e12, 0.005 * tera * 1e12);
    };
    near(peak.float32, sheet.float32);
    near(peak.float16, sheet.float16);
    near(peak.bfloat16, sheet.bfloat16);
    near(peak.float8, sheet.float8);
    EXPECT_DOUBLE_EQ(target.memory.bytes_per_second, sheet.gigabytes_per_second * 1e9);
    EXPECT_DOUBLE_EQ(target.power_limit.watts, sheet.watts);
    EXPECT_NE(peak.source.find("https://"), std::string::npos);
  }
}

TEST(Target, EveryShippedFileIsTested) {
  std::set<std::string> shipped, tested;
  for (const auto& entry : std::filesystem::directory_iterator(kTargets)) {
    shipped.insert(entry.path().stem().string());
  }
  for (const Sheet& sheet : kSheets) tested.insert(sheet.file);
  EXPECT_EQ(shipped, tested);
}

TEST(Target, NamesTheTypeThatItComputesIn) {
  const Target nano = read_target(kTargets + "jetson-nano.yaml");
  EXPECT_EQ(compute_type(nano, "float8").dtype, "float16");
  EXPECT_EQ(compute_type(nano, "bfloat16").dtype, "float32");
  EXPECT_EQ(compute_type(nano, "bfloat16").flops_per_second, nano.peak_flops_per_second.float32);
  const Target h100 = read_target(kTargets + "h100.yaml");
  EXPECT_EQ(compute_type(h100, "float8").dtype, "float8");
  EXPECT_THROWS_WITH(compute_type(h100, "int8"),
                     "expected float32, float16, bfloat16 or float8, got 'int8'");
  EXPECT_THROWS_WITH(compute_type(Target{.name = "empty"}, "float16"),
                     "the target 'empty' has no peak in float32");
}

class RefusedTarget : public ::testing::Test {
 protected:
  // The file with one line replaced; an empty line takes it out.
  std::string write(const std::string& key, const std::string& line) {
    std::string text;
    for (const std::string known :
         {"name: device", "peak_flops_per_second: {float32: 1e12, source: sheet}",
          "memory: {bytes_per_second: 1e9, source: sheet}",
          "power_limit: {watts: 5, source: sheet}"}) {
      text += (known.rfind(key + ":", 0) == 0 ? line : known) + "\n";
    }
    const std::string path = folder_.file("target.yaml");
    std::ofstream(path) << text;
    return path;
  }

  TemporaryFolder folder_;
};

TEST_F(RefusedTarget, ReadsWhatIsRight) {
  const Target target = read_target(write("name", "name: other"));
  EXPECT_EQ(target.name, "other");
  EXPECT_EQ(target.peak_flops_per_second.float16, 0);
}

TEST_F(RefusedTarget, NamesFileAndKey) {
  EXPECT_THROWS_WITH(read_target(write("memory", "memory: {bandwidth: 1e9, source: s}")),
                     "target.yaml:3: unknown option 'memory.bandwidth'");
  EXPECT_THROWS_WITH(read_target(write("power_limit", "power_limit: {watts: some, source: s}")),
                     "target.yaml:4: option 'power_limit.watts': expected a number");
  EXPECT_THROWS_WITH(
      read_target(write("peak_flops_per_second",
                        "peak_flops_per_second: {float32: 1e12, float16: -1, source: s}")),
      "target.yaml:2: option 'peak_flops_per_second.float16': expected a number >= 0, got -1");
  EXPECT_THROWS_WITH(read_target(write("memory", "")),
                     "target.yaml: option 'memory.bytes_per_second': expected a number > 0, got 0");
  EXPECT_THROWS_WITH(read_target(write("power_limit", "power_limit: {watts: 5}")),
                     "target.yaml: option 'power_limit.source' is required");
  EXPECT_THROWS_WITH(read_target(write("name", "")), "target.yaml: option 'name' is required");
  EXPECT_THROWS_WITH(read_target(folder_.file("absent.yaml")), "absent.yaml");
}

}  // namespace
}  // namespace kvalign
