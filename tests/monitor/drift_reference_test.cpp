// The file of reference scores: what is written is read back, and each way to be wrong is named.
#include "kvalign/monitor/drift_reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "kvalign/core/temporary_folder.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

const std::string kCheckpoint(64, 'a');

class DriftReferenceTest : public ::testing::Test {
 protected:
  std::string path() const { return folder_.file("drift.json"); }

  DriftReference read_text(const std::string& text) {
    std::ofstream(path()) << text;
    return read_drift_reference(path(), kCheckpoint);
  }

  void expect_refused(const std::string& text, const std::string& what) {
    EXPECT_THROWS_WITH(read_text(text), path() + ": " + what);
  }

 private:
  TemporaryFolder folder_;
};

std::string file_text(const std::string& scores) {
  return R"({"schema": 1, "checkpoint": ")" + kCheckpoint + R"(", "scores": )" + scores + "}";
}

TEST_F(DriftReferenceTest, IsReadAsItWasWrittenAndSorted) {
  write_drift_reference(path(), {kCheckpoint, {0.1, -1.0 / 3, 1e-300}});
  const DriftReference reference = read_drift_reference(path(), kCheckpoint);
  EXPECT_EQ(reference.checkpoint, kCheckpoint);
  EXPECT_THAT(reference.scores, ::testing::ElementsAre(-1.0 / 3, 1e-300, 0.1));
}

TEST_F(DriftReferenceTest, ReadsWhatOthersWrite) {
  EXPECT_THAT(read_text(file_text("[2, -1.5]")).scores, ::testing::ElementsAre(2, -1.5));
}

TEST_F(DriftReferenceTest, RefusesWhatIsNoReference) {
  EXPECT_THROWS_WITH(read_drift_reference(path(), kCheckpoint), path());
  expect_refused("{", "expected JSON");
  expect_refused("[]", "expected an object, got []");
  expect_refused("{}", "expected \"schema\": 1, got null");
  expect_refused(R"({"schema": 2})", "expected \"schema\": 1, got 2. Is it a drift reference");
  expect_refused(R"({"schema": 1, "score": []})",
                 "unknown key \"score\"; known: schema, checkpoint, scores");
  expect_refused(R"({"schema": 1, "scores": []})", "missing key \"checkpoint\"");
  expect_refused(R"({"schema": 1, "checkpoint": ""})", "missing key \"scores\"");
  expect_refused(R"({"schema": 1, "checkpoint": 7, "scores": [1]})",
                 "checkpoint: expected a string, got 7");
  expect_refused(R"({"schema": 1, "checkpoint": "ab", "scores": [1]})",
                 "checkpoint: expected the 64 hexadecimal digits of a SHA-256, got \"ab\"");
  expect_refused(file_text("{}"), "scores: expected a list, got {}");
  expect_refused(file_text("[]"), "scores: expected at least one, got none");
  expect_refused(file_text("[1, null]"), "scores[1]: expected a number, got null");
  expect_refused(file_text("[1, 1e999]"), "expected JSON");
}

TEST_F(DriftReferenceTest, RefusesScoresOfAnotherCheckpoint) {
  write_drift_reference(path(), {std::string(64, 'b'), {1}});
  EXPECT_THROWS_WITH(read_drift_reference(path(), kCheckpoint),
                     path() + ": expected scores of checkpoint " + kCheckpoint + ", got those of " +
                         std::string(64, 'b') + ". Make the reference anew from this checkpoint.");
}

TEST_F(DriftReferenceTest, IsNotWrittenWhereItCouldNotBeRead) {
  EXPECT_THROWS_WITH(write_drift_reference(path(), {"ab", {1}}), "checkpoint: expected the 64");
  EXPECT_THROWS_WITH(write_drift_reference(path(), {kCheckpoint, {}}), "at least one");
  EXPECT_THROWS_WITH(write_drift_reference(path(), {kCheckpoint, {0, NAN}}),
                     "scores[1]: expected a finite number, got nan");
  EXPECT_FALSE(std::ifstream(path()).is_open());
}

}  // namespace
}  // namespace kvalign
