// What a monitor does with one record and with odd ones. Sums over many requests, from several
// threads, are in counters_test.py.
#include "kvalign/monitor/monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "kvalign/monitor/status_page.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kDigits(64, 'a');

json status_of(const Monitor& monitor) {
  return json::parse(monitor.status_json());
}

RequestRecord record_of(const std::string& model) {
  RequestRecord record;
  record.model = model;
  record.method = "infer";
  return record;
}

TEST(Monitor, ShowsSeriesOfItsModelsBeforeTheFirstRequest) {
  const Monitor monitor({"demo"});
  const std::string text = monitor.prometheus_text();
  EXPECT_THAT(text, HasSubstr("kvalign_cache_tokens_total{model=\"demo\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("kvalign_ready 0\n"));
  EXPECT_THAT(text, Not(HasSubstr("kvalign_drift_alarm{")));
}

TEST(Monitor, CountsARefusedRequest) {
  Monitor monitor({"demo"});
  RequestRecord record = record_of("demo");
  record.status = 503;
  record.reason = "busy";
  monitor.record(record);
  const std::string text = monitor.prometheus_text();
  for (const char* label : {"model=\"demo\"", "method=\"infer\"", "status=\"503\"",
                            "outcome=\"none\"", "reason=\"busy\""}) {
    EXPECT_THAT(text, HasSubstr(label));
  }
  EXPECT_EQ(status_of(monitor)["answers"],
            json::parse(R"([{"model": "demo", "method": "infer", "status": "503",
                             "outcome": "none", "reason": "busy", "requests": 1}])"));
}

// Whoever sends requests chooses their models' names, and must not choose how many series there
// are.
TEST(Monitor, NamesFromRequestsMakeNoNewSeries) {
  Monitor monitor({"demo"});
  for (int i = 0; i < 1000; ++i) {
    RequestRecord record = record_of("model-" + std::to_string(i));
    record.method = "method_" + std::to_string(i);
    record.reason = "reason " + std::to_string(i);
    record.phase_seconds["phase_" + std::to_string(i)] = 1;
    record.status = 100 + i;
    monitor.record(record);
  }
  const json status = status_of(monitor);
  EXPECT_EQ(status["requests"], 1000);
  EXPECT_LE(status["answers"].size(), 64u);
  EXPECT_EQ(status["phases"].size(), 17u);  // 16 new words, and the others together
  for (const json& answer : status["answers"]) {
    EXPECT_EQ(answer["model"], "other");
    EXPECT_EQ(answer["reason"], "other");
  }
}

TEST(Monitor, ErrorsThatAreNotFiniteDoNotSpoilSums) {
  Monitor monitor({"demo"});
  RequestRecord record = record_of("demo");
  record.certified_wire_error = std::numeric_limits<double>::infinity();
  record.certified_error = std::numeric_limits<double>::infinity();
  record.measured_error = NAN;
  monitor.record(record);
  record.certified_wire_error = 0.125;
  record.certified_error = 0.25;
  record.measured_error = 0.5;
  monitor.record(record);
  const std::string text = monitor.prometheus_text();
  EXPECT_THAT(text, HasSubstr("kvalign_certified_wire_error_ratio_sum{model=\"demo\"} 0.125\n"));
  EXPECT_THAT(text, HasSubstr("kvalign_certified_error_ratio_sum{model=\"demo\"} 0.25\n"));
  EXPECT_THAT(text, HasSubstr("kvalign_measured_error_ratio_sum{model=\"demo\"} 0.5\n"));
  const json status = status_of(monitor);
  EXPECT_EQ(status["undefined_errors"], 3);
  EXPECT_TRUE(status["errors"]["certified"]["max"].is_null());
  EXPECT_EQ(status["errors"]["certified"]["p50"], 0.25);
  EXPECT_EQ(status["errors"]["certified_wire"]["p50"], 0.125);
}

TEST(Monitor, ThePlotIsThereOnceThereIsSomethingToShow) {
  Monitor monitor({"demo"});
  EXPECT_TRUE(status_of(monitor)["errors"]["plot"].is_null());
  monitor.record_measured_error("demo", std::numeric_limits<double>::infinity());
  EXPECT_TRUE(status_of(monitor)["errors"]["plot"].is_null());
  monitor.record_measured_error("demo", 0.5);
  EXPECT_THAT(status_of(monitor)["errors"]["plot"].get<std::string>(), HasSubstr("<svg"));
}

TEST(Monitor, GaugesShowWhatWasSet) {
  Monitor monitor({"demo"});
  monitor.set_ready(true);
  monitor.set_queue_depth(3);
  monitor.set_queue_capacity(8);
  monitor.record_reload("demo", true);
  monitor.record_reload("demo", false);
  {
    const RequestInFlight first(monitor), second(monitor);
    EXPECT_EQ(status_of(monitor)["in_flight"], 2);
  }
  const json status = status_of(monitor);
  EXPECT_EQ(status["ready"], true);
  EXPECT_EQ(status["in_flight"], 0);
  EXPECT_EQ(status["queue"], json::parse(R"({"depth": 3, "capacity": 8})"));
  EXPECT_EQ(status["reloads"], json::parse(R"({"succeeded": 1, "failed": 1})"));
}

TEST(Monitor, WatchesDriftWhereThereIsAReference) {
  Monitor monitor({"demo", "other demo"}, {.alpha = 0.01});
  const DriftReference reference{kDigits, {-1, 0, 1}};
  monitor.watch_drift("demo", reference);
  RequestRecord record = record_of("demo");
  RequestRecord unwatched = record_of("other demo");
  unwatched.drift_score = 1e9;
  for (int i = 0; i < 60; ++i) {
    record.drift_score = 10 + i;
    monitor.record(record);
    monitor.record(unwatched);
  }
  json drift = status_of(monitor)["drift"];
  ASSERT_EQ(drift.size(), 1u);
  EXPECT_EQ(drift[0]["requests"], 60);
  EXPECT_EQ(drift[0]["alarm"], true);
  EXPECT_THAT(monitor.prometheus_text(), HasSubstr("kvalign_drift_alarm{model=\"demo\"} 1\n"));

  monitor.watch_drift("demo", reference);  // as after a reload of the same checkpoint
  EXPECT_EQ(status_of(monitor)["drift"][0]["requests"], 60);
  monitor.watch_drift("demo", {kDigits, {-1, 0, 2}});
  EXPECT_EQ(status_of(monitor)["drift"][0]["requests"], 0);
  const std::string text = monitor.prometheus_text();
  EXPECT_THAT(text, HasSubstr("kvalign_drift_alarm{model=\"demo\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("kvalign_drift_alarms_total{model=\"demo\"} 1\n"));
}

TEST(Monitor, RefusesNamesThatMetricsNeedThemselves) {
  EXPECT_THROWS_WITH(Monitor({"demo", "other"}), "a model cannot be named \"other\"");
  EXPECT_THROWS_WITH(Monitor({"none"}), "a model cannot be named \"none\"");
  EXPECT_THROWS_WITH(Monitor({""}), "a model cannot be named \"\"");
}

TEST(Monitor, RefusesToWatchWhatItCannot) {
  Monitor monitor({"demo"});
  EXPECT_THROWS_WITH(monitor.watch_drift("other", {kDigits, {0}}),
                     "\"other\" is not one of the models that are served");
  EXPECT_THROWS_WITH(monitor.watch_drift("demo", {kDigits, {}}), "at least one score");
  EXPECT_THROWS_WITH(Monitor({"demo"}, {.alpha = 1}), "alpha");
}

TEST(StatusPage, NeedsNoOtherFile) {
  const std::string page = status_page();
  for (const char* from_elsewhere : {"src=", "href=", "url(", "@import", "http://", "https://",
                                     "style=\"", "onclick", "onload"}) {
    EXPECT_THAT(page, Not(HasSubstr(from_elsewhere)));
  }
}

}  // namespace
}  // namespace kvalign
