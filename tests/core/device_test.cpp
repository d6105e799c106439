// Words of a recipe against devices, for machines with and without CUDA devices.
#include "kvalign/core/device.h"

#include "tests/support/throws.h"

namespace kvalign {
namespace {

TEST(ResolveDevice, AutoTakesTheFirstCudaDeviceElseTheCpu) {
  EXPECT_EQ(resolve_device("auto", 0), at::Device(at::kCPU));
  EXPECT_EQ(resolve_device("auto", 2), at::Device(at::kCUDA, 0));
}

TEST(ResolveDevice, TakesWhatIsNamed) {
  EXPECT_EQ(resolve_device("cpu", 2), at::Device(at::kCPU));
  EXPECT_EQ(resolve_device("cuda", 2), at::Device(at::kCUDA, 0));
  EXPECT_EQ(resolve_device("cuda:1", 2), at::Device(at::kCUDA, 1));
  EXPECT_EQ(resolve_device("cpu"), at::Device(at::kCPU));
}

TEST(ResolveDevice, SaysHowManyDevicesThereAre) {
  EXPECT_THROWS_WITH(resolve_device("cuda", 0),
                     "device 'cuda': this process sees 0 CUDA device(s)");
  EXPECT_THROWS_WITH(resolve_device("cuda", 0), "Use auto or cpu, or check the driver");
  EXPECT_THROWS_WITH(resolve_device("cuda:2", 2),
                     "device 'cuda:2': this process sees 2 CUDA device(s), the last one is cuda:1");
}

TEST(ResolveDevice, RefusesOtherWords) {
  for (const char* name : {"", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:1x", "cuda: 1", "cpu:0",
                           "cuda:99999999999999999999"}) {
    EXPECT_THROWS_WITH(resolve_device(name, 2),
                       std::string("device '") + name + "': expected auto, cpu, cuda or cuda:N");
  }
}

TEST(ResolveDevice, AutoAlwaysFindsADevice) {
  EXPECT_EQ(resolve_device("auto").is_cuda(), num_cuda_devices() > 0);
}

}  // namespace
}  // namespace kvalign
