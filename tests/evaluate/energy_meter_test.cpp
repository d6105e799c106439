// Energy meters over made-up sysfs trees and a made-up NVML: what counts as energy, what a wrapping
// counter gives, and that nothing at all gives no number.
#include "kvalign/evaluate/energy_meter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "kvalign/core/temporary_folder.h"

namespace kvalign {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class EnergyMeterTest : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path full = folder_.file(path);
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text << "\n";
  }

  void add_package(int number, const std::string& microjoules, const std::string& range) {
    const std::string zone = "class/powercap/intel-rapl:" + std::to_string(number);
    write(zone + "/name", "package-" + std::to_string(number));
    write(zone + "/energy_uj", microjoules);
    write(zone + "/max_energy_range_uj", range);
  }

  // A channel of a power monitor, in millivolts and milliamperes.
  void add_rail(const std::string& device, int channel, const std::string& label,
                const std::string& millivolts, const std::string& milliamperes) {
    const std::string folder = "bus/i2c/drivers/ina3221/" + device + "/hwmon/hwmon3/";
    const std::string number = std::to_string(channel);
    write(folder + "in" + number + "_label", label);
    write(folder + "in" + number + "_input", millivolts);
    write(folder + "curr" + number + "_input", milliamperes);
  }

  EnergyMeter open(bool gpu_works = false, const std::string& nvml_library = KVALIGN_FAKE_NVML) {
    return EnergyMeter::open(
        {.sysfs = folder_.path(), .nvml_library = nvml_library, .gpu_works = gpu_works});
  }

  TemporaryFolder folder_;
};

TEST_F(EnergyMeterTest, NothingThereIsNotMeasured) {
  EnergyMeter meter = open();
  EXPECT_FALSE(meter.measures());
  EXPECT_THAT(meter.source(), StartsWith("not measured: no RAPL package in "));
  EXPECT_THAT(meter.source(), HasSubstr("; no INA3221 in "));
  EXPECT_TRUE(std::isnan(meter.joules()));
  bool ran = false;
  const MeasuredWork measured = measure(meter, [&] { ran = true; });
  EXPECT_TRUE(ran);
  EXPECT_GE(measured.seconds, 0);
  EXPECT_TRUE(std::isnan(measured.joules));
}

TEST_F(EnergyMeterTest, PackagesAreAddedAndTheirPartsAreNot) {
  add_package(0, "5000000", "262143328850");
  add_package(1, "7000000", "262143328850");
  write("class/powercap/intel-rapl:0:0/name", "core");
  write("class/powercap/intel-rapl:0:0/energy_uj", "1");
  write("class/powercap/intel-rapl-mmio:0/name", "package-0");
  EnergyMeter meter = open();
  EXPECT_EQ(meter.source(), "RAPL package-0, RAPL package-1");
  EXPECT_EQ(meter.joules(), 0);
  add_package(0, "6500000", "262143328850");
  add_package(1, "7250000", "262143328850");
  EXPECT_DOUBLE_EQ(meter.joules(), 1.75);
}

TEST_F(EnergyMeterTest, ACounterThatWrapsGoesOn) {
  add_package(0, "900000", "1000000");
  EnergyMeter meter = open();
  add_package(0, "200000", "1000000");
  EXPECT_DOUBLE_EQ(meter.joules(), 0.3);
  add_package(0, "100000", "1000000");
  EXPECT_DOUBLE_EQ(meter.joules(), 1.2);
}

TEST_F(EnergyMeterTest, AnUnreadablePackageIsNotMeasured) {
  add_package(0, "5000000", "262143328850");
  add_package(1, "", "262143328850");
  EXPECT_THAT(open().source(), StartsWith("not measured: RAPL of package-1 cannot be read"));
}

TEST_F(EnergyMeterTest, ACounterThatFailsGivesNoNumberAnyMore) {
  add_package(0, "5000000", "262143328850");
  EnergyMeter meter = open();
  write("class/powercap/intel-rapl:0/energy_uj", "none");
  EXPECT_TRUE(std::isnan(meter.joules()));
  add_package(0, "6000000", "262143328850");
  EXPECT_TRUE(std::isnan(meter.joules()));
}

TEST_F(EnergyMeterTest, WorkShorterThanTheCountersStepsIsRepeated) {
  add_package(0, "5000000", "262143328850");
  EnergyMeter meter = open();
  int runs = 0;
  const auto spend = [&](int milliseconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    add_package(0, std::to_string(5'000'000 + 600'000 * ++runs), "262143328850");
  };
  const MeasuredWork once = measure(meter, [&] { spend(30); });
  EXPECT_EQ(runs, 1);
  EXPECT_GE(once.seconds, 0.03);
  EXPECT_DOUBLE_EQ(once.joules, 0.6);
  const MeasuredWork often = measure(meter, [&] { spend(0); });
  EXPECT_TRUE(runs > 2 || often.seconds >= 0.02) << runs << " runs of " << often.seconds << " s";
  EXPECT_NEAR(often.joules, 0.6, 1e-9);
}

// 5 V x 2 A of the whole module; VDD_CPU_GPU_CV is a part of VDD_IN.
TEST_F(EnergyMeterTest, RailsAreSampledOverTime) {
  add_rail("1-0040", 1, "VDD_IN", "5000", "2000");
  add_rail("1-0040", 2, "VDD_CPU_GPU_CV", "5000", "1000");
  add_package(0, "5000000", "262143328850");
  EnergyMeter meter = open();
  EXPECT_EQ(meter.source(), "INA3221 VDD_IN");
  const MeasuredWork measured =
      measure(meter, [] { std::this_thread::sleep_for(std::chrono::milliseconds(150)); });
  // joules() samples just before the first and just after the last reading of the clock.
  EXPECT_GE(measured.joules, 10 * measured.seconds - 1e-9);
  EXPECT_LE(measured.joules, 10 * (measured.seconds + 0.1));
}

TEST_F(EnergyMeterTest, RailsThatFeedTheModuleTogetherAreAdded) {
  add_rail("1-0040", 1, "VDD_GPU_SOC", "20000", "1000");
  add_rail("1-0040", 2, "VDD_CPU_CV", "20000", "500");
  add_rail("1-0040", 3, "VIN_SYS_5V0", "5000", "2000");
  add_rail("1-0041", 2, "VDDQ_VDD2_1V8AO", "5000", "100");
  EnergyMeter meter = open(/*gpu_works=*/true);
  EXPECT_EQ(meter.source(), "INA3221 VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0");
  const auto start = std::chrono::steady_clock::now();
  const double before = meter.joules();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const double joules = meter.joules() - before;
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_GE(joules, 40 * 0.05 - 1e-9);
  EXPECT_LE(joules, 40 * seconds.count());
}

TEST_F(EnergyMeterTest, ARailThatFailsGivesNoNumberAnyMore) {
  add_rail("1-0040", 1, "VDD_IN", "5000", "2000");
  EnergyMeter meter = open();
  std::filesystem::remove(folder_.file("bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr1_input"));
  EXPECT_TRUE(std::isnan(meter.joules()));
}

TEST_F(EnergyMeterTest, UnknownAndUnreadableRailsAreNotMeasured) {
  add_rail("1-0040", 1, "VDD_SOMETHING", "5000", "2000");
  EXPECT_THAT(open().source(),
              HasSubstr("no known set of rails that feeds a whole module among VDD_SOMETHING"));
  add_rail("1-0040", 2, "VDD_IN", "broken", "2000");
  EXPECT_THAT(open().source(), HasSubstr("INA3221: cannot read "));
}

TEST_F(EnergyMeterTest, AGpusCounterIsItsOwnAndTheProcessors) {
  EnergyMeter meter = open(/*gpu_works=*/true);
  EXPECT_EQ(meter.source(), "NVML GPU");
  EXPECT_DOUBLE_EQ(meter.joules(), 0.25);
  EXPECT_DOUBLE_EQ(meter.joules(), 0.5);
  EXPECT_GT(meter.shortest_seconds(), 0.1);
  add_package(0, "5000000", "262143328850");
  EXPECT_EQ(open(/*gpu_works=*/true).source(), "NVML GPU, RAPL package-0");
}

TEST_F(EnergyMeterTest, AGpuThatIsNotCountedIsNotMeasured) {
  add_package(0, "5000000", "262143328850");  // half of the energy is no energy
  const auto refused = [&](const char* variable, const char* value, const std::string& why) {
    ::setenv(variable, value, 1);
    EXPECT_EQ(open(/*gpu_works=*/true).source(), "not measured: NVML: " + why);
    ::unsetenv(variable);
  };
  refused("FAKE_NVML_INIT", "9", "nvmlInit fails with code 9");
  refused("FAKE_NVML_COUNT", "8", "expected one GPU, got 8");
  refused("FAKE_NVML_HANDLE", "15", "the GPU does not answer");
  refused("FAKE_NVML_ENERGY", "3", "the GPU does not count its energy");
  EXPECT_EQ(open(/*gpu_works=*/true, "libabsent.so").source(),
            "not measured: NVML: cannot open libabsent.so of NVIDIA's driver");
  EXPECT_EQ(open(/*gpu_works=*/true, "libm.so.6").source(),
            "not measured: NVML: libm.so.6 lacks a function that counts energy");
}

TEST_F(EnergyMeterTest, AGpuThatFailsGivesNoNumber) {
  EnergyMeter meter = open(/*gpu_works=*/true);
  ::setenv("FAKE_NVML_ENERGY", "15", 1);
  EXPECT_TRUE(std::isnan(meter.joules()));
  ::unsetenv("FAKE_NVML_ENERGY");
  EXPECT_TRUE(std::isnan(meter.joules()));  // part of the time is not in it
}

}  // namespace
}  // namespace kvalign
