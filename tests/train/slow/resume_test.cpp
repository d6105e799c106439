// A run that is killed by SIGKILL at random times and resumed each time ends in the same bytes as
// one that was left alone. Each run is a process of its own: this program, started again with the
// run's folder in KVALIGN_RESUME_RUN.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "kvalign/core/files.h"
#include "kvalign/core/random.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/train/distiller.h"
#include "kvalign/train/training_state.h"
#include "tests/train/tiny_run.h"

namespace kvalign {
namespace {

constexpr int kKills = 10;

// The folder of the run is relative to the working directory, so that both runs have equal recipes.
Recipe make_recipe() {
  Recipe recipe = testing::tiny_recipe("../pairs", "run");
  recipe.train.epochs = 120;
  recipe.train.schedule = "cosine";
  recipe.train.gradient_clip = 1.0;
  recipe.train.learning_rate = 3e-3;
  recipe.train.checkpoint_every_steps = 4;
  recipe.train.log_every_steps = 3;
  return recipe;
}

// In the child: trains, resuming what is there.
TEST(Resume, DISABLED_Child) {
  const char* folder = std::getenv("KVALIGN_RESUME_RUN");
  ASSERT_NE(folder, nullptr) << "this is started by the other test";
  std::filesystem::current_path(folder);
  distill(make_recipe(), {.resume = true});
}

pid_t start_child(const std::string& folder) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("KVALIGN_RESUME_RUN", folder.c_str(), 1);
    ::execl(program.c_str(), program.c_str(), "--gtest_filter=Resume.DISABLED_Child",
            "--gtest_also_run_disabled_tests", "--gtest_brief=1", nullptr);
    ::_exit(127);
  }
  return child;
}

// The child's exit status; -1 where a signal ended it.
int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Waits until the run has written another `bytes` of metrics, then a little more, and kills it.
void kill_after(pid_t child, const std::string& metrics, uintmax_t bytes, int64_t microseconds) {
  const auto size = [&] {
    std::error_code missing;
    const uintmax_t now = std::filesystem::file_size(metrics, missing);
    return missing ? 0 : now;
  };
  const uintmax_t before = size();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  const auto has_ended = [&] {
    siginfo_t info{};
    return ::waitid(P_PID, child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == child;
  };
  while (size() < before + bytes && !has_ended() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
  ::kill(child, SIGKILL);
}

// Whole but for the length of metrics.jsonl, whose clock fields have more or fewer digits.
void expect_equal_states(const std::string& whole_path, const std::string& killed_path) {
  const TrainingState whole = load_training_state(whole_path);
  const TrainingState killed = load_training_state(killed_path);
  EXPECT_EQ(whole.progress, killed.progress);
  EXPECT_EQ(whole.recipe, killed.recipe);
  EXPECT_EQ(whole.events_bytes, killed.events_bytes);
  ASSERT_EQ(whole.tensors.size(), killed.tensors.size());
  for (size_t i = 0; i < whole.tensors.size(); ++i) {
    EXPECT_EQ(whole.tensors[i].name, killed.tensors[i].name);
    EXPECT_TRUE(at::equal(whole.tensors[i].tensor, killed.tensors[i].tensor))
        << whole.tensors[i].name;
  }
}

TEST(Resume, TenKillsChangeNothing) {
  TemporaryFolder folder;
  testing::make_tiny_dataset(folder.file("pairs"));
  const std::string whole = folder.file("whole"), killed = folder.file("killed");
  std::filesystem::create_directory(whole);
  std::filesystem::create_directory(killed);
  ASSERT_EQ(wait_for(start_child(whole)), 0);

  Random random(20);
  int kills = 0;
  const uintmax_t metrics_bytes = std::filesystem::file_size(whole + "/run/metrics.jsonl");
  for (int attempt = 0; attempt < kKills; ++attempt) {
    const pid_t child = start_child(killed);
    // A tenth of the whole file would end the run; a state is at most 4 steps old.
    const auto bytes = static_cast<uintmax_t>(random.uniform() * 0.12 * metrics_bytes);
    kill_after(child, killed + "/run/metrics.jsonl", bytes, random.below(20000));
    if (wait_for(child) == -1) ++kills;
  }
  EXPECT_EQ(kills, kKills) << "the run ended before it was killed often enough";
  ASSERT_EQ(wait_for(start_child(killed)), 0);

  expect_equal_states(whole + "/run/training_state.safetensors",
                      killed + "/run/training_state.safetensors");
  EXPECT_EQ(std::filesystem::file_size(whole + "/run/events.out.tfevents.kvalign"),
            std::filesystem::file_size(killed + "/run/events.out.tfevents.kvalign"));
  EXPECT_EQ(testing::read_metrics(whole + "/run"), testing::read_metrics(killed + "/run"));
  for (const char* name : {"checkpoint.safetensors", "checkpoint_last.safetensors"}) {
    EXPECT_EQ(read_file(whole + "/run/" + name), read_file(killed + "/run/" + name)) << name;
  }
}

}  // namespace
}  // namespace kvalign
