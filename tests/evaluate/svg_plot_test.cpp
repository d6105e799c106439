// Plots: where things stand, which ticks there are, and what is left out.
#include "kvalign/evaluate/svg_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <regex>

#include "src/evaluate/markup.h"
#include "src/evaluate/svg_canvas.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> labels(const SvgAxis& axis) {
  std::vector<std::string> result;
  for (const AxisTick& tick : axis.ticks()) result.push_back(tick.label);
  return result;
}

std::vector<std::string> linear(const std::vector<double>& values) {
  return labels(SvgAxis(AxisScale::kLinear, values, 0, 100));
}

std::vector<std::string> logarithmic(const std::vector<double>& values) {
  return labels(SvgAxis(AxisScale::kLog10, values, 0, 100));
}

// How many elements begin with `start`.
size_t occurrences_of(const std::string& svg, const std::string& start) {
  size_t count = 0;
  for (size_t at = svg.find(start); at != std::string::npos; at = svg.find(start, at + 1)) ++count;
  return count;
}

LinePlot one_series(std::vector<PlotPoint> points) {
  return {.title = "Loss",
          .description = "Loss against step.",
          .x = {"step"},
          .y = {"loss"},
          .series = {{"training", std::move(points)}}};
}

TEST(SvgAxis, TicksAreAtOneTwoOrFiveTimesAPowerOfTen) {
  EXPECT_THAT(linear({0, 1.1}), ElementsAre("0", "0.2", "0.4", "0.6", "0.8", "1.0"));
  EXPECT_THAT(linear({0, 27}), ElementsAre("0", "5", "10", "15", "20", "25"));
  EXPECT_THAT(linear({-0.013, 0.012}), ElementsAre("−0.010", "−0.005", "0", "0.005", "0.010"));
  EXPECT_THAT(linear({9990.5, 28000}), ElementsAre("10,000", "15,000", "20,000", "25,000"));
  EXPECT_THAT(linear({0, 3.2e6}), ElementsAre("0", "10⁶", "2 × 10⁶", "3 × 10⁶"));
  EXPECT_THAT(linear({0, 2.5e-4}),
              ElementsAre("0", "5 × 10⁻⁵", "10⁻⁴", "1.50 × 10⁻⁴", "2 × 10⁻⁴", "2.50 × 10⁻⁴"));
}

TEST(SvgAxis, WholeNumbersHaveWholeTicks) {
  EXPECT_THAT(linear({1, 3}), ElementsAre("1", "2", "3"));
  EXPECT_THAT(linear({1, 3.5}), ElementsAre("1.0", "1.5", "2.0", "2.5", "3.0", "3.5"));
}

TEST(SvgAxis, PowersOfTenOnALogarithmicOne) {
  EXPECT_THAT(logarithmic({1e-6, 1}), ElementsAre("10⁻⁶", "0.0001", "0.01", "1"));
  EXPECT_THAT(logarithmic({0.007, 9}), ElementsAre("0.01", "0.1", "1", "10"));
  EXPECT_THAT(logarithmic({8, 300}), ElementsAre("10", "20", "50", "100", "200"));
  EXPECT_THAT(logarithmic({2.2, 4.1}), ElementsAre("2.5", "3.0", "3.5", "4.0"));
}

TEST(SvgAxis, PlacesFollowTheScale) {
  const SvgAxis axis(AxisScale::kLog10, {1, 100}, 200, 0);
  EXPECT_NEAR(axis.at(10), 100, 1e-9);
  EXPECT_NEAR(axis.at(1), 200 * (1 - 0.04 / 1.08), 1e-9);  // 4 % of the range at each end
  EXPECT_EQ(axis.at(1e9), 0);
  EXPECT_FALSE(axis.shows(0));
  EXPECT_EQ(SvgAxis(AxisScale::kLinear, {0, 5}, 10, 20).at(0), 10);  // 0 is an end of its own
}

TEST(SvgAxis, OneValueStandsInTheMiddle) {
  EXPECT_EQ(SvgAxis(AxisScale::kLinear, {7, 7}, 0, 10).at(7), 5);
  EXPECT_EQ(SvgAxis(AxisScale::kLinear, {0}, 0, 10).at(0), 5);
  EXPECT_EQ(SvgAxis(AxisScale::kLog10, {1e-3}, 0, 10).at(1e-3), 5);
}

TEST(SvgPlot, AnUndefinedPointBreaksTheLine) {
  const std::string whole = draw(one_series({{1, 1}, {2, 2}, {3, 3}, {4, 4}}));
  EXPECT_EQ(occurrences_of(whole, "<polyline"), 2);  // with the legend's
  EXPECT_EQ(occurrences_of(whole, "<circle"), 5);
  const std::string broken = draw(one_series({{1, 1}, {2, 2}, {3, NAN}, {4, 4}, {5, 5}}));
  EXPECT_EQ(occurrences_of(broken, "<polyline"), 3);
  EXPECT_EQ(occurrences_of(broken, "<circle"), 5);
  EXPECT_THAT(broken, Not(HasSubstr("nan")));
}

TEST(SvgPlot, ALogarithmicAxisLeavesOutWhatHasNoLogarithm) {
  LinePlot plot = one_series({{1, 0}, {2, 2}, {3, -1}, {4, 20}});
  plot.y.scale = AxisScale::kLog10;
  EXPECT_EQ(occurrences_of(draw(plot), "<circle"), 3);  // two points and the legend's
}

TEST(SvgPlot, IntervalsAreDrawnWhereBothEndsAreKnown) {
  const std::string svg = draw(one_series({{1, 1, 0.5, 1.5}, {2, 2, 1, NAN}, {3, 3}}));
  EXPECT_EQ(occurrences_of(svg, "<line class=\"interval series-0\""), 3);  // a line and two caps
}

TEST(SvgPlot, EverythingStandsInsideTheFrame) {
  LinePlot plot = one_series({{1, -5, -9, 3}, {1000, 400, 300, 500}});
  plot.x_lines = {{2000, "a long label of a line that stands at the very right"}};
  plot.y_lines = {{700, "above"}, {701, "just above it"}};
  const std::string svg = draw(plot);
  const std::regex number(R"re(\b(?:x|x1|x2|cx|y|y1|y2|cy)="(-?[\d.]+)")re");
  for (std::sregex_iterator found(svg.begin(), svg.end(), number), end; found != end; ++found) {
    EXPECT_GE(std::stod((*found)[1]), 0) << found->str();
    EXPECT_LE(std::stod((*found)[1]), kPlotWidth) << found->str();
  }
}

TEST(SvgPlot, TellsReadersWhoDoNotSeeIt) {
  const std::string svg = draw(one_series({{1, 1}}));
  EXPECT_THAT(svg, HasSubstr("role=\"img\""));
  EXPECT_THAT(svg, HasSubstr("<title>Loss</title>\n<desc>Loss against step.</desc>"));
}

TEST(SvgPlot, EscapesEveryText) {
  LinePlot plot = one_series({{1, 1}});
  plot.title = plot.description = plot.x.title = plot.y.title = plot.series[0].name = "<b>&\"'";
  plot.x_lines = plot.y_lines = {{1, "<b>&\"'"}};
  const std::string svg = draw(plot);
  EXPECT_THAT(svg, Not(HasSubstr("<b>")));
  EXPECT_EQ(occurrences_of(svg, escape_markup("<b>&\"'")), 8);
}

TEST(SvgPlot, RefusesToDrawNothing) {
  EXPECT_THROWS_WITH(draw(one_series({{1, NAN}, {2, INFINITY}})),
                     "expected a finite value to show");
  EXPECT_THROWS_WITH(draw(one_series({})), "Leave the plot out");
  EXPECT_THROWS_WITH(draw(BarPlot{.title = "Ladder", .bars = {{.label = "a", .value = NAN}}}),
                     "in the plot 'Ladder', got none of 1");
}

TEST(SvgBars, BeginAtZeroAndKeepTheirOrder) {
  const std::string svg = draw(BarPlot{
      .title = "Ladder",
      .axis_title = "nll, nats a token",
      .bars = {{"first", "2.00", 2, 1.5, 2.5}, {"left out", "-", NAN}, {"second", "4.00", 4}},
      .lines = {{3, "true cache"}}});
  EXPECT_EQ(occurrences_of(svg, "<rect class=\"bar"), 2);
  EXPECT_EQ(occurrences_of(svg, "class=\"interval\""), 3);
  EXPECT_EQ(occurrences_of(svg, "class=\"reference\""), 1);
  EXPECT_LT(svg.find("first"), svg.find("second"));
  EXPECT_THAT(svg, Not(HasSubstr("left out")));
  // 0 stands at 12, 4.16 at 388: a bar of 4 is twice one of 2.
  EXPECT_THAT(svg, HasSubstr("x=\"12\" y=\"56\" width=\"180.8\""));
  EXPECT_THAT(svg, HasSubstr("x=\"12\" y=\"86\" width=\"361.5\""));
}

TEST(SvgBars, NegativeOnesGoToTheLeftOfZero) {
  const std::string svg = draw(BarPlot{.title = "t", .bars = {{"a", "", -1}, {"b", "", 1}}});
  EXPECT_THAT(svg, HasSubstr("width=\"174.1\""));
}

}  // namespace
}  // namespace kvalign
