// The three forms of a report, on one written by hand.
#include "kvalign/evaluate/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace kvalign {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Report two_rows() {
  Report report;
  report.recipe = {{"seed", 1}};
  report.options = {{"worst_tokens", 1}};
  report.machine = {.cpu = "a cpu", .num_threads = 2, .device = "cpu"};
  report.data = {.sender = "small",
                 .receiver = "large",
                 .train_sequences = 8,
                 .test_sequences = 4,
                 .test_documents = 2,
                 .test_tokens = 1200,
                 .skip_first_tokens = 4,
                 .stream_names = {"keys.0", "values.0"}};
  report.rows = {
      {.row = "v1",
       .text = "linear_residual, norm none",
       .checkpoint = "runs/v1/checkpoint.safetensors",
       .num_parameters = 2109440,
       .headline = {{"r2_keys", {0.75, 0.7, 0.8}}, {"mse", {NAN, NAN, NAN}}},
       .groups = {{"keys", {0.1, 0.2, 0.9, 0.75}, {0.1, 0.2, 0.9, 0.5}}},
       .streams = {{0.1, 0.2, 0.9, 0.75}, {0.3, 0.4, 0.8, NAN}},
       .worst_tokens = {{.sequence = 7, .token = 5, .stream = 1, .error = 3, .relative_error = 2}}},
      {.row = "mean",
       .text = "the mean",
       .headline = {{"r2_keys", {-12345.6, NAN, NAN}}, {"mse", {1, 1, 1}}}}};
  report.absent_rows = {{"pad", "there is nothing to fill"}};
  report.differences = {{"v1", "mean", "r2_keys", {0.5, 0.4, 0.6}},
                        {"v1", "mean", "mse", {-0.5, -0.6, -0.4}}};
  return report;
}

TEST(Report, TableOnATerminal) {
  EXPECT_EQ(to_text(two_rows()),
            "row   parameters                  R² keys                      MSE\n"
            "v1     2,109,440  0.7500 [0.7000, 0.8000]                        -\n"
            "mean           0                -1.23e+04  1.0000 [1.0000, 1.0000]\n"
            "\n"
            "Held out: 4 sequences of 2 documents, 1200 tokens (the first 4 of each sequence are "
            "attention sinks and left out of every figure); trained on 8 sequences.\n"
            "Intervals: 95 %, percentile bootstrap over the held-out documents.\n"
            "Not shown: pad, there is nothing to fill.\n");
}

TEST(Report, EstimatedCosts) {
  Report report = two_rows();
  EXPECT_FALSE(to_json(report).contains("cost"));
  CostSetting setting;
  setting.sender.name = "edge";
  setting.receiver.name = "cloud";
  setting.sender.peak_flops_per_second.float32 = setting.receiver.peak_flops_per_second.float32 = 1;
  setting.link_bits_per_second = 1e8;
  setting.link_latency_seconds = 0.02;
  setting.dtype = "float16";
  report.cost =
      CostReport{.setting = setting,
                 .prompt_tokens = 1024,
                 .rows = {{.name = "text",
                           .flops_receiver = 2.5e9,
                           .bytes_sent = 4096,
                           .seconds_link = 0.02,
                           .seconds_receiver = 0.125,
                           .power_limit_times_seconds = 50,
                           .steps = {{.side = "receiver",
                                      .work = {.step = "prefill", .flops = 2.5e9},
                                      .time = {.compute_seconds = 0.125, .dtype = "float32"}}}}}};
  EXPECT_THAT(to_text(report),
              ::testing::HasSubstr("Estimated cost of a prompt of 1,024 tokens\n"));
  const nlohmann::json cost = to_json(report)["cost"];
  EXPECT_EQ(cost["sender_target"], "edge");
  EXPECT_EQ(cost["link"]["latency_seconds"], 0.02);
  EXPECT_EQ(cost["sender_is"], "warm");
  EXPECT_EQ(cost["prompt_tokens"], 1024);
  EXPECT_EQ(cost["rows"][0]["row"], "text");
  EXPECT_EQ(cost["rows"][0]["flops_receiver"], 2.5e9);
  EXPECT_DOUBLE_EQ(cost["rows"][0]["seconds_total"], 0.145);
  EXPECT_EQ(cost["rows"][0]["energy"], "not measured");
  EXPECT_EQ(cost["rows"][0]["power_limit_times_seconds"], 50);
  EXPECT_EQ(cost["steps"][0]["bound_by"], "compute");
  EXPECT_EQ(cost["steps"][0]["dtype"], "float32");
  const std::string text = to_markdown(report);
  EXPECT_THAT(text, HasSubstr("## Estimated cost of a prompt of 1,024 tokens\n"));
  EXPECT_THAT(text, HasSubstr("| text | 0 | 2.5 G | 4.1 kB | 0 s | 20 ms | 125 ms | 145 ms | not "
                              "measured | 50 W s |\n"));
  EXPECT_THAT(text, HasSubstr("edge has no arithmetic in float16 and computes in float32"));
}

TEST(Report, Markdown) {
  const std::string text = to_markdown(two_rows());
  EXPECT_THAT(text, HasSubstr("# Reconstruction: small to large\n"));
  EXPECT_THAT(text, HasSubstr("| row | parameters | R² keys | MSE |\n| --- | ---: | ---: | ---: |\n"
                              "| v1 | 2,109,440 | 0.7500 [0.7000, 0.8000] | - |\n"));
  EXPECT_THAT(text, HasSubstr("| mean | 0.5000 [0.4000, 0.6000] | -0.5000 [-0.6000, -0.4000] |\n"));
  EXPECT_THAT(text, HasSubstr("| keys, pooled | 0.5000 | 0.2000 | 0.9000 | 0.1000 |\n"));
  EXPECT_THAT(text, HasSubstr("| values.0 | - | 0.4000 | 0.8000 | 0.3000 |\n"));
  EXPECT_THAT(text, HasSubstr("| values.0 | 7 | 5 | 3.0000 | 2.0000 |\n"));
  EXPECT_THAT(text, HasSubstr("- Not shown: pad, there is nothing to fill.\n"));
  EXPECT_THAT(text, Not(HasSubstr("## Streams of mean")));
  EXPECT_THAT(text, Not(HasSubstr("## Task agreement")));
}

TEST(Report, Json) {
  const nlohmann::json json = to_json(two_rows());
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["dataset"]["skip_first_tokens"], 4);
  EXPECT_EQ(json["machine"]["cpu"], "a cpu");
  const nlohmann::json& row = json["reconstruction"]["rows"][0];
  EXPECT_EQ(row["headline"]["r2_keys"],
            (nlohmann::json{{"value", 0.75}, {"low", 0.7}, {"high", 0.8}}));
  EXPECT_TRUE(row["headline"]["mse"]["value"].is_null());
  EXPECT_TRUE(row["streams"][1]["r2"].is_null());
  EXPECT_EQ(row["worst_tokens"][0]["stream"], "values.0");
  EXPECT_EQ(row["groups"]["keys"]["pooled"]["r2"], 0.5);
  EXPECT_FALSE(json["reconstruction"]["rows"][1].contains("checkpoint"));
  EXPECT_FALSE(json.contains("task"));
}

TEST(Report, JsonOfTraining) {
  Report report = two_rows();
  EXPECT_FALSE(to_json(report).contains("training"));
  report.training = {{"v1", {{.step = 10, .loss = 0.5}, {.step = 20, .validation_loss = 0.75}}}};
  EXPECT_EQ(to_json(report)["training"], nlohmann::json::parse(R"([{"row": "v1", "unit": "step",
      "points": [{"step": 10, "loss": 0.5, "validation_loss": null},
                 {"step": 20, "loss": null, "validation_loss": 0.75}]}])"));
}

TEST(Report, TaskHasItsOwnSectionAndColumn) {
  Report report = two_rows();
  report.task = TaskSummary{.num_classes = 2,
                            .true_cache = {.accuracy = {0.9, 0.8, 1}, .macro_f1 = {0.89}},
                            .majority_class = {.accuracy = {0.5}, .balanced_accuracy = {0.5}}};
  for (ReportRow& row : report.rows) {
    row.task = TaskFigures{.scores = {.accuracy = {0.85, 0.7, 0.95}}};
  }
  EXPECT_THAT(to_text(report), HasSubstr("task accuracy"));
  EXPECT_THAT(to_text(report),
              HasSubstr("2 classes; accuracy on true caches 0.9000 [0.8000, 1.0000]"
                        ", commonest label 0.5000.\n"));
  EXPECT_THAT(to_markdown(report), HasSubstr("## Task agreement"));
  const nlohmann::json json = to_json(report);
  EXPECT_EQ(json["task"]["true_cache"]["value"], 0.9);
  EXPECT_EQ(json["task"]["macro_f1"]["true_cache"]["value"], 0.89);
  EXPECT_EQ(json["task"]["balanced_accuracy"]["majority_class"]["value"], 0.5);
  EXPECT_FALSE(json["task"].contains("gains"));
  EXPECT_EQ(json["reconstruction"]["rows"][0]["task"]["accuracy"]["low"], 0.7);
  EXPECT_FALSE(json["reconstruction"]["rows"][0]["task"].contains("own_head"));
}

TEST(Report, FineTunedRowsTellOfTheirOwnHead) {
  Report report = two_rows();
  report.task = TaskSummary{
      .num_classes = 2, .gains = {{"v1", "v0", {.macro_f1 = {0.25, 0.1, 0.3}}}, {"v1", "v1", {}}}};
  report.rows[0].task =
      TaskFigures{.own_head = OwnHeadFigures{.projected = {.balanced_accuracy = {0.75, 0.5, 1}},
                                             .true_cache = {.macro_f1 = {0.125}}}};
  for (const std::string& text : {to_text(report), to_markdown(report)}) {
    EXPECT_THAT(text, HasSubstr("v1, own head"));
    EXPECT_THAT(text, HasSubstr("true cache, head of v1"));
    EXPECT_THAT(text, HasSubstr("v1 minus v0"));
    EXPECT_THAT(text, HasSubstr("v1 minus the true caches' head on it"));
    EXPECT_THAT(text, HasSubstr("0.2500 [0.1000, 0.3000]"));
  }
  const nlohmann::json json = to_json(report);
  const nlohmann::json& own = json["reconstruction"]["rows"][0]["task"]["own_head"];
  EXPECT_EQ(own["balanced_accuracy"]["low"], 0.5);
  EXPECT_EQ(own["true_cache"]["macro_f1"]["value"], 0.125);
  EXPECT_EQ(json["task"]["gains"][0]["against"], "v0");
  EXPECT_EQ(json["task"]["gains"][0]["macro_f1"]["high"], 0.3);
}

TEST(Machine, KnowsItself) {
  const Machine machine = describe_machine("cpu");
  EXPECT_GT(machine.num_cpus, 0);
  EXPECT_GT(machine.num_threads, 0);
  for (const std::string& text :
       {machine.cpu, machine.libtorch, machine.compiler, machine.kvalign}) {
    EXPECT_FALSE(text.empty());
  }
  EXPECT_EQ(to_json(machine)["device"], "cpu");
}

}  // namespace
}  // namespace kvalign
