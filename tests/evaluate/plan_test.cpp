// Plans of the demo's models: what they contain, when they say to send the text, and what they
// refuse. Times themselves are checked in transfer_test.cpp.
#include "kvalign/evaluate/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kvalign/core/files.h"
#include "kvalign/core/temporary_folder.h"
#include "kvalign/model/decoder_config.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"
#include "tests/support/throws.h"
#include "tests/support/token_file.h"

namespace kvalign {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kSource = KVALIGN_SOURCE_DIR;

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() {
    cost_.sender_target = kSource + "/configs/targets/jetson-orin-nano.yaml";
    cost_.receiver_target = kSource + "/configs/targets/a100-40gb.yaml";
    plan_.sender = kSource + "/demo/sender";
    plan_.receiver = kSource + "/demo/receiver";
    plan_.latent_numbers = 16;
    plan_.prompt_tokens = {128, 1024};
  }

  // A projector of the demo's models, with its initial weights.
  std::string save_checkpoint_of(const ProjectorOptions& options, const std::string& receiver) {
    const auto geometry = [](const std::string& name) {
      return read_decoder_config(kSource + "/demo/" + name).geometry;
    };
    const std::string path = folder_.file("checkpoint.safetensors");
    Checkpoint checkpoint;
    checkpoint.projector =
        std::make_shared<KvProjector>(options, geometry("sender"), geometry(receiver));
    checkpoint.dataset_sha256 = checkpoint.split_sha256 = std::string(64, '0');
    save_checkpoint(path, checkpoint);
    return path;
  }

  const PlanRow& row(const PromptPlan& prompt, const std::string& name) {
    for (const PlanRow& row : prompt.rows) {
      if (row.estimate.name == name) return row;
    }
    throw std::out_of_range("no row " + name);
  }

  CostOptions cost_;
  PlanOptions plan_;
  TemporaryFolder folder_;
};

TEST_F(PlanTest, SmallModelsShouldBeSentTheText) {
  const Plan plan = make_plan(cost_, plan_);
  EXPECT_EQ(plan.sender_parameters, 452'448);
  EXPECT_EQ(plan.receiver_parameters, 1'047'808);
  // 4 x 2 x 2 x 24 = 384 numbers to 5 x 2 streams of 3 x 32.
  EXPECT_EQ(plan.cache_projector_parameters, 384 * 960 + 960);
  EXPECT_EQ(plan.latent_projector_parameters, 384 * 16 + 16 + 16 * 960 + 960);
  ASSERT_EQ(plan.prompts.size(), 2);
  const PromptPlan& prompt = plan.prompts[1];
  EXPECT_EQ(prompt.prompt_tokens, 1024);
  EXPECT_EQ(prompt.fastest, "text");
  EXPECT_THAT(prompt.conclusion, StartsWith("Send the text. The first token comes after "));
  EXPECT_EQ(row(prompt, "text").estimate.bytes_sent, 4096);
  // 1,019 tokens are projected, 5 travel as text; a float32 scale for each of 8 streams.
  EXPECT_EQ(row(prompt, "FP8 cache").estimate.bytes_sent, 1019 * (384 + 8 * 4) + 5 * 4);
  EXPECT_EQ(row(prompt, "latents").estimate.bytes_sent, 1019 * 16 + 5 * 4);
  EXPECT_EQ(row(prompt, "text, no transfer").estimate.bytes_sent, 0);
  const TransferEstimate& text = row(prompt, "text").estimate;
  EXPECT_NEAR(row(prompt, "text, no transfer").estimate.seconds_receiver,
              text.seconds_total() - text.seconds_link, 1e-15);
}

TEST_F(PlanTest, ADearPrefillAndAFreeLinkAreWorthATransfer) {
  // A receiver that reads its weights in milliseconds, and a long prompt in tens of them.
  const std::string slow = folder_.file("slow.yaml");
  std::ofstream(slow) << "name: slow\n"
                         "peak_flops_per_second: {float32: 1e11, source: made up}\n"
                         "memory: {bytes_per_second: 1e9, source: made up}\n"
                         "power_limit: {watts: 1, source: made up}\n";
  cost_.receiver_target = slow;
  cost_.link_bits_per_second = 1e12;
  const Plan plan = make_plan(cost_, plan_);
  const PromptPlan& prompt = plan.prompts[1];
  EXPECT_EQ(prompt.fastest, "latents");
  EXPECT_THAT(prompt.conclusion, StartsWith("Send the latents. The first token comes after "));
  const BreakEven& bandwidth = row(prompt, "latents").bandwidth;
  ASSERT_EQ(bandwidth.when, FasterWhen::kAbove);
  // On a link of just that bandwidth both take as long.
  cost_.link_bits_per_second = bandwidth.value;
  const PromptPlan even = make_plan(cost_, plan_).prompts[1];
  EXPECT_NEAR(row(even, "latents").estimate.seconds_total(),
              row(even, "text").estimate.seconds_total(),
              1e-9 * row(even, "text").estimate.seconds_total());
  const BreakEven& tokens = row(prompt, "latents").tokens;
  ASSERT_EQ(tokens.when, FasterWhen::kAbove);
  cost_.link_bits_per_second = 1e12;
  plan_.prompt_tokens = {static_cast<int64_t>(tokens.value) - 1,
                         static_cast<int64_t>(tokens.value)};
  const Plan around = make_plan(cost_, plan_);
  EXPECT_LT(row(around.prompts[1], "latents").estimate.seconds_total(),
            row(around.prompts[1], "text").estimate.seconds_total());
  EXPECT_GE(row(around.prompts[0], "latents").estimate.seconds_total(),
            row(around.prompts[0], "text").estimate.seconds_total());
}

TEST_F(PlanTest, AColdSenderIsSlower) {
  const Plan warm = make_plan(cost_, plan_);
  cost_.sender = "cold";
  const Plan cold = make_plan(cost_, plan_);
  EXPECT_GT(row(cold.prompts[0], "latents").estimate.seconds_sender,
            row(warm.prompts[0], "latents").estimate.seconds_sender);
  EXPECT_EQ(row(cold.prompts[0], "text").estimate.seconds_total(),
            row(warm.prompts[0], "text").estimate.seconds_total());
}

TEST_F(PlanTest, ACheckpointDecidesItsOwnWay) {
  ProjectorOptions options;
  options.kind = "low_rank";
  options.rank = 7;
  options.latent_wire = "float16";
  options.layer_map = {.kind = "all", .features = "both"};
  plan_.checkpoint = save_checkpoint_of(options, "receiver");
  Plan plan = make_plan(cost_, plan_);
  EXPECT_EQ(row(plan.prompts[0], "latents").estimate.bytes_sent, 123 * 7 * 2 + 5 * 4);
  EXPECT_THAT(plan.latent_projector, HasSubstr("checkpoint.safetensors"));
  EXPECT_THAT(plan.cache_projector, HasSubstr("over all sender layers"));
  options = {};
  options.kind = "mlp";
  options.hidden_size = 5;
  plan_.checkpoint = save_checkpoint_of(options, "receiver");
  plan = make_plan(cost_, plan_);
  // Ten streams from 48 features each, without a norm.
  EXPECT_EQ(plan.cache_projector_parameters, 10 * (48 * 5 + 5 + 5 * 96 + 96));
  EXPECT_THAT(plan.cache_projector, StartsWith("mlp"));
  EXPECT_THAT(plan.latent_projector, HasSubstr("over all sender layers"));
  plan_.checkpoint = save_checkpoint_of(options, "other");
  EXPECT_THROWS_WITH(make_plan(cost_, plan_), "is a projector of another receiver (other)");
}

TEST_F(PlanTest, TextIsMeasuredOnATokenFile) {
  const std::string path = folder_.file("tokens.safetensors");
  make_test_tokens({10, 30}, 64).write(path);  // 40 bytes each
  plan_.tokens = path;
  const Plan plan = make_plan(cost_, plan_);
  EXPECT_EQ(plan.text_bytes_per_token, 2);
  EXPECT_EQ(row(plan.prompts[1], "text").estimate.bytes_sent, 2048);
  EXPECT_THAT(to_text(plan), HasSubstr("the receiver's tokens of " + path));
}

TEST_F(PlanTest, RefusesWhatIsMissing) {
  PlanOptions plan = plan_;
  plan.receiver = folder_.file("absent");
  EXPECT_THROWS_WITH(make_plan(cost_, plan),
                     "expected plan.receiver to be a Hugging Face folder with config.json, got");
  plan = plan_;
  plan.prompt_tokens = {};
  EXPECT_THROWS_WITH(make_plan(cost_, plan), "at least one number in plan.prompt_tokens");
  plan = plan_;
  plan.prompt_tokens = {5};
  EXPECT_THROWS_WITH(make_plan(cost_, plan), "got 5 with 4 sinks and 0 re-read");
  cost_.sender_target = "";
  EXPECT_THROWS_WITH(make_plan(cost_, plan_), "expected the files of two targets");
}

TEST_F(PlanTest, FilesHoldThePlan) {
  const Plan plan = make_plan(cost_, plan_);
  const std::string folder = folder_.file("plans/one");
  write_plan(plan, folder);
  const nlohmann::json json = nlohmann::json::parse(read_file(folder + "/plan.json"));
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["sender_target"], "NVIDIA Jetson Orin Nano 8GB");
  EXPECT_EQ(json["link"]["bits_per_second"], 1e8);
  const nlohmann::json& latents = json["prompts"][1]["rows"][2];
  EXPECT_EQ(latents["row"], "latents");
  EXPECT_EQ(latents["energy"], "not measured");
  EXPECT_EQ(latents["faster_than_text_at_bits_per_second"]["when"],
            name_of(plan.prompts[1].rows[2].bandwidth.when));
  EXPECT_EQ(json["prompts"][1]["steps"][0]["step"], "prefill of 1024 tokens");
  const std::string markdown = read_file(folder + "/plan.md");
  EXPECT_THAT(markdown, StartsWith("# Plan: sender to receiver\n"));
  EXPECT_THAT(markdown, HasSubstr("Send the text."));
  EXPECT_THAT(markdown, HasSubstr("Energy is not measured"));
  EXPECT_THAT(to_text(plan), HasSubstr("estimate: total"));
  for (const char* name : {"plan_bandwidth.svg", "plan_prompt.svg"}) {
    const std::string svg = read_file(folder + "/" + name);
    EXPECT_THAT(svg, StartsWith("<svg "));
    EXPECT_THAT(svg, HasSubstr("<style>"));
    EXPECT_THAT(svg, HasSubstr("estimate: seconds to the first token"));
    EXPECT_THAT(svg, HasSubstr("FP8 cache"));
  }
}

TEST_F(PlanTest, AFolderThatCannotBeMadeIsNamed) {
  std::ofstream(folder_.file("file")) << "x";
  EXPECT_THROWS_WITH(write_plan(make_plan(cost_, plan_), folder_.file("file/plan")),
                     "write_plan: cannot make the folder");
}

}  // namespace
}  // namespace kvalign
