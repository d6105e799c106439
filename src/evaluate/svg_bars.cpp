// Lying bars with intervals. See svg_plot.h.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "kvalign/evaluate/svg_plot.h"
#include "svg_canvas.h"

namespace kvalign {
namespace {

constexpr double kBarHeight = 8;
constexpr double kRowHeight = 2 * kTextHeight;
constexpr double kSideMargin = 12;

std::vector<PlotBar> visible_bars(const BarPlot& plot) {
  std::vector<PlotBar> bars;
  std::copy_if(plot.bars.begin(), plot.bars.end(), std::back_inserter(bars),
               [](const PlotBar& bar) { return std::isfinite(bar.value); });
  if (bars.empty()) {
    throw std::invalid_argument("draw: expected a bar with a finite value in the plot '" +
                                plot.title + "', got none of " + std::to_string(plot.bars.size()) +
                                ". Leave the plot out.");
  }
  return bars;
}

// From 0 to the farthest end.
SvgAxis axis_of(const BarPlot& plot, const std::vector<PlotBar>& bars) {
  std::vector<double> values{0};
  for (const PlotBar& bar : bars) {
    for (const double value : {bar.value, bar.low, bar.high}) values.push_back(value);
  }
  for (const ReferenceLine& line : plot.lines) values.push_back(line.value);
  return SvgAxis(AxisScale::kLinear, values, kSideMargin, kPlotWidth - kSideMargin);
}

void draw_bar(SvgCanvas& canvas, const SvgAxis& axis, const PlotBar& bar, double y) {
  const double zero = axis.at(0), end = axis.at(bar.value), bar_y = y + kTextHeight + 1;
  canvas.rectangle({std::min(zero, end), bar_y}, std::abs(end - zero), kBarHeight, "bar series-0");
  if (std::isfinite(bar.low) && std::isfinite(bar.high)) {
    const double middle = bar_y + kBarHeight / 2;
    canvas.interval({axis.at(bar.low), middle}, {axis.at(bar.high), middle}, "interval");
  }
}

}  // namespace

std::string draw(const BarPlot& plot) {
  const std::vector<PlotBar> bars = visible_bars(plot);
  const SvgAxis axis = axis_of(plot, bars);
  SvgCanvas canvas;
  double y = canvas.paragraph(0, "title", plot.title) + 4;
  std::vector<SvgPosition> line_tops;
  for (const ReferenceLine& line : plot.lines) {
    if (!axis.shows(line.value)) continue;
    y += kTextHeight;
    canvas.text({axis.at(line.value), y}, TextAnchor::kMiddle, "small", line.label);
    line_tops.push_back({axis.at(line.value), y + 3});
  }
  const double first = y + 6;
  const auto row_y = [first](size_t row) { return first + kRowHeight * static_cast<double>(row); };
  const double bottom = row_y(bars.size()) + 4;
  canvas.x_axis(axis, first, bottom, plot.axis_title);
  canvas.line({kSideMargin, bottom}, {kPlotWidth - kSideMargin, bottom}, "axis");
  for (size_t i = 0; i < bars.size(); ++i) draw_bar(canvas, axis, bars[i], row_y(i));
  for (const SvgPosition& top : line_tops) canvas.line(top, {top.x, bottom}, "reference");
  for (size_t i = 0; i < bars.size(); ++i) {
    const double y = row_y(i) + 11;
    canvas.text({0, y}, TextAnchor::kStart, "small halo", bars[i].label);
    canvas.text({kPlotWidth, y}, TextAnchor::kEnd, "small halo", bars[i].number);
  }
  return canvas.finish(plot.title, plot.description, bottom + 2 * kTextHeight + 8);
}

}  // namespace kvalign
