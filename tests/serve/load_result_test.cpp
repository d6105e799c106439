// Figures of a load from its queries, and when a bound is met.
#include "kvalign/serve/load_result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

namespace kvalign {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

LoadQuery answered_after(double scheduled, double milliseconds) {
  return {.id = "q",
          .scheduled = scheduled,
          .sent = scheduled + 0.001,
          .done = scheduled + milliseconds / 1e3,
          .status = 200,
          .tokens = 4};
}

LoadQuery failed(const std::string& error, int status, bool retry_after) {
  LoadQuery query = answered_after(0, 1);
  query.error = error;
  query.status = status;
  query.retry_after = retry_after;
  return query;
}

LoadOptions server_options(double bound_ms) {
  return {.scenario = "server", .latency_bound_ms = bound_ms};
}

TEST(LoadPercentiles, AreNumbersOfTheListByTheirRank) {
  std::vector<double> values(1000);
  std::iota(values.rbegin(), values.rend(), 1);
  const LoadPercentiles percentiles = load_percentiles(values);
  EXPECT_EQ(percentiles.p50, 500);
  EXPECT_EQ(percentiles.p90, 900);
  EXPECT_EQ(percentiles.p99, 990);
  EXPECT_EQ(percentiles.p99_9, 999);
  EXPECT_EQ(percentiles.max, 1000);
  // One more moves each rank up by one: ceil(1001 q).
  values.push_back(0.5);
  EXPECT_EQ(load_percentiles(values).p50, 500);
  EXPECT_EQ(load_percentiles(values).p99_9, 999);
}

TEST(LoadPercentiles, OfFewAndOfNone) {
  const LoadPercentiles of_two = load_percentiles({2, 1});
  EXPECT_EQ(of_two.p50, 1);
  EXPECT_EQ(of_two.p90, 2);
  EXPECT_TRUE(std::isnan(load_percentiles({}).p50));
}

TEST(LoadResult, CountsAnsweredGoodAndFailed) {
  LoadQuery fallback = answered_after(0, 5);
  fallback.outcome = "fallback_reprefill";
  LoadQuery applied = answered_after(0, 5);
  applied.outcome = "applied";
  const LoadResult result =
      summarise_load(server_options(10), {applied, fallback, answered_after(2, 11),
                                          answered_after(0, 10), failed("503", 503, true),
                                          failed("503", 503, false), failed("lost", 0, false)});
  EXPECT_EQ(result.queries, 7);
  EXPECT_EQ(result.answered, 4);
  EXPECT_EQ(result.good, 2) << "late, not applied and failed queries are not good";
  EXPECT_THAT(result.outcomes, ElementsAre(Pair("applied", 1), Pair("fallback_reprefill", 1)));
  EXPECT_THAT(result.errors, ElementsAre(Pair("503", 2), Pair("lost", 1)));
  EXPECT_EQ(result.retry_after, 1);
  EXPECT_EQ(result.tokens, 16);
  EXPECT_DOUBLE_EQ(result.seconds, 2.011);
  EXPECT_DOUBLE_EQ(result.queries_per_second(), 4 / 2.011);
  EXPECT_NEAR(result.latency.max, 0.011, 1e-12);
  EXPECT_NEAR(result.send_delay.p50, 0.001, 1e-12);
}

TEST(LoadResult, PausesAreWithinAQueryAndFirstPiecesSinceItsArrival) {
  LoadQuery first = answered_after(1, 500);
  first.pieces = {1.1, 1.2, 1.5};
  LoadQuery second = answered_after(2, 500);
  second.pieces = {2.2};
  const LoadResult result = summarise_load({.request = "generate"}, {first, second});
  EXPECT_EQ(result.pieces, 4);
  EXPECT_NEAR(result.first_piece.p50, 0.1, 1e-12);
  EXPECT_NEAR(result.first_piece.max, 0.2, 1e-12);
  EXPECT_NEAR(result.between_pieces.p50, 0.1, 1e-12);
  EXPECT_NEAR(result.between_pieces.max, 0.3, 1e-12);
}

TEST(LoadResult, LatencyBoundIsMetByTheShareOfTheScenario) {
  std::vector<LoadQuery> queries(99, answered_after(0, 10));
  queries.push_back(answered_after(0, 20));
  EXPECT_THAT(bounds_not_met(summarise_load(server_options(10), queries)), IsEmpty());
  queries.push_back(failed("503", 503, true));
  EXPECT_THAT(
      bounds_not_met(summarise_load(server_options(10), queries)),
      ElementsAre("98.02 % of the queries were answered within 10 ms, 99 % were asked for"));
  LoadOptions single = server_options(10);
  single.scenario = "single_stream";
  EXPECT_THAT(bounds_not_met(summarise_load(single, queries)), IsEmpty());
  queries.resize(10, answered_after(0, 10));
  queries[0] = queries[1] = failed("lost", 0, false);
  EXPECT_THAT(bounds_not_met(summarise_load(single, queries)),
              ElementsAre(HasSubstr("80.00 % of the queries")));
}

TEST(LoadResult, ThroughputBound) {
  LoadOptions options{.scenario = "offline", .min_queries_per_second = 100};
  const std::vector<LoadQuery> queries(10, answered_after(0, 100));
  EXPECT_THAT(bounds_not_met(summarise_load(options, queries)), IsEmpty());
  options.min_queries_per_second = 101;
  EXPECT_THAT(bounds_not_met(summarise_load(options, queries)),
              ElementsAre("100.00 queries a second were answered, 101 were asked for"));
}

TEST(LoadResult, JsonHasNullWhereNothingWasAnswered) {
  const nlohmann::json json = to_json(summarise_load({}, {failed("503", 503, true)}));
  EXPECT_EQ(nlohmann::json::parse(json.dump())["latency_ms"]["p50"], nullptr);
  EXPECT_EQ(json["errors"]["503"], 1);
  EXPECT_EQ(json["goodput"], 0);
}

}  // namespace
}  // namespace kvalign
