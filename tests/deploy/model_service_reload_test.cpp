// A checkpoint is replaced while requests come: each is answered by the old one or the new one, as
// its version says, and none is lost.
#include <atomic>
#include <filesystem>
#include <thread>

#include "kvalign/core/files.h"
#include "kvalign/deploy/model_service.h"
#include "tests/deploy/model_service_fixture.h"

namespace kvalign {
namespace {

using namespace testing;

class ReloadTest : public ModelServiceFixture {
 protected:
  static ServeRequest request(const at::Tensor& rows) {
    return {.model = "flat", .inputs = {served_input("features", "FP32", rows)}};
  }
  // Puts the checkpoint of `seed` where the service looks.
  void put(int64_t seed) const {
    const std::string path = save_flat("next", seed);
    std::filesystem::rename(path, folder_.file("flat.safetensors"));
  }
  std::string version() const {
    return sha256_of_file(folder_.file("flat.safetensors")).substr(0, 12);
  }
};

TEST_F(ReloadTest, ReplacesWhatChangedAndLosesNothing) {
  const std::string path = save_flat();
  const auto service = make_model_service({.models = {"flat=" + path}});
  const at::Tensor rows = random_rows({5, 16});
  std::map<std::string, std::string> answers;  // by version
  for (const int64_t seed : {1, 2}) {
    put(seed);
    answers[version()] = std::string(
        static_cast<const char*>(projected(path, rows.unsqueeze(0)).const_data_ptr()), 5 * 24 * 4);
  }
  put(1);
  std::atomic<bool> done = false;
  std::atomic<int> answered = 0, wrong = 0;
  std::vector<std::thread> clients;
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([&] {
      while (!done) {
        const ServeResponse response = service->infer(request(rows));
        wrong += response.outputs[0].data != answers.at(response.version);
        ++answered;
      }
    });
  }
  for (int turn = 0; turn < 20; ++turn) {
    put(1 + (turn + 1) % 2);
    const int before = answered;
    const std::vector<ReloadedModel> reloaded = service->reload();
    ASSERT_EQ(reloaded.size(), 1u);
    EXPECT_TRUE(reloaded[0].replaced);
    EXPECT_EQ(reloaded[0].error, "");
    EXPECT_EQ(reloaded[0].version, version());
    EXPECT_EQ(service->infer(request(rows)).version, version());
    while (answered < before + 8) std::this_thread::yield();
  }
  done = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_FALSE(service->reload()[0].replaced);  // nothing changed
}

TEST_F(ReloadTest, KeepsTheOldOneWhereTheNewOneCannotBeRead) {
  const std::string path = save_flat();
  const auto service = make_model_service({.models = {"flat=" + path}});
  const at::Tensor rows = random_rows({5, 16});
  const ServeResponse before = service->infer(request(rows));
  write_file_atomically(path, "damaged");
  const std::vector<ReloadedModel> reloaded = service->reload();
  EXPECT_FALSE(reloaded[0].replaced);
  EXPECT_EQ(reloaded[0].version, before.version);
  EXPECT_THAT(reloaded[0].error, ::testing::HasSubstr("flat: " + path));
  EXPECT_EQ(service->infer(request(rows)).outputs[0].data, before.outputs[0].data);
  std::filesystem::remove(path);
  EXPECT_THAT(service->reload()[0].error, ::testing::HasSubstr(path));
  put(1);
  EXPECT_EQ(service->reload()[0].error, "");
}

}  // namespace
}  // namespace kvalign
