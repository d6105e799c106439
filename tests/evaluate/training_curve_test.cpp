// Loss curves of a metrics.jsonl.
#include "kvalign/evaluate/training_curve.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>

#include "kvalign/core/temporary_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

class TrainingCurveTest : public ::testing::Test {
 protected:
  std::vector<TrainingPoint> read(const std::string& text) {
    std::ofstream(folder_.file("metrics.jsonl")) << text;
    return read_training_points(folder_.file("metrics.jsonl"));
  }
  TemporaryFolder folder_;
};

TEST_F(TrainingCurveTest, JoinsTrainingAndValidationByStep) {
  const auto points = read(R"({"event":"start","time":1.5,"num_parameters":3}
{"event":"train_step","time":2.5,"step":10,"loss":0.5}
{"event":"train_step","time":3.5,"step":20,"loss":null}
{"event":"validation","time":3.6,"step":20,"loss":0.75,"improved":true}
{"event":"validation","time":3.7,"step":25,"loss":0.625}
{"event":"checkpoint","time":3.8,"step":25,"file":"checkpoint.safetensors"}
)");
  ASSERT_EQ(points.size(), 3);
  EXPECT_EQ(points[0].step, 10);
  EXPECT_EQ(points[0].loss, 0.5);
  EXPECT_TRUE(std::isnan(points[0].validation_loss));
  EXPECT_TRUE(std::isnan(points[1].loss));
  EXPECT_EQ(points[1].validation_loss, 0.75);
  EXPECT_EQ(points[2].step, 25);
  EXPECT_TRUE(std::isnan(points[2].loss));
}

TEST_F(TrainingCurveTest, KeepsNoMoreThanAPlotShows) {
  std::string text;
  for (int step = 1; step <= 1000; ++step) {
    text += R"({"event":"train_step","step":)" + std::to_string(step) + R"(,"loss":1})" + "\n";
    text += R"({"event":"validation","step":)" + std::to_string(step) + R"(,"loss":2})" + "\n";
  }
  const auto points = read(text);
  EXPECT_LE(points.size(), 300);
  EXPECT_EQ(points.front().step, 1);
  EXPECT_EQ(points.back().step, 1000);
  int64_t losses = 0, validation_losses = 0, largest_step = 0, before = 1;
  for (const TrainingPoint& point : points) {
    losses += point.loss == 1;
    validation_losses += point.validation_loss == 2;
    largest_step = std::max(largest_step, point.step - before);
    before = point.step;
  }
  EXPECT_EQ(losses, 200);
  EXPECT_EQ(validation_losses, 100);
  EXPECT_LE(largest_step, 6);  // 999 / 199 = 5.02
}

TEST_F(TrainingCurveTest, ALineThatIsStillWrittenIsLeftOut) {
  EXPECT_EQ(read("{\"event\":\"train_step\",\"step\":1,\"loss\":1}\n{\"event\":\"tra").size(), 1);
  EXPECT_TRUE(read("").empty());
}

TEST_F(TrainingCurveTest, NamesFileAndLineOfABadOne) {
  const std::string good = "{\"event\":\"start\"}\n";
  EXPECT_THROWS_WITH(read(good + "{\"event\":\"tra\n"),
                     "metrics.jsonl, line 2: expected a JSON object with an event, got {\"event\"");
  EXPECT_THROWS_WITH(read(good + good + "[1]\n"), "line 3: expected a JSON object with an event");
  EXPECT_THROWS_WITH(read("{\"event\":\"train_step\",\"step\":1.5,\"loss\":1}\n"),
                     "line 1: expected a whole step and a loss, got {");
  EXPECT_THROWS_WITH(read("{\"event\":\"validation\",\"step\":1}\n"), "a whole step and a loss");
  EXPECT_THROWS_WITH(read_training_points(folder_.file("absent.jsonl")), "cannot read");
}

}  // namespace
}  // namespace kvalign
