// Plots as SVG text, for a page that needs no script. Knows nothing of reports.
//
// Every function returns one <svg> element that scales with the page; its colours are the classes
// of plot_style(), which the page has once. Points that are undefined (NaN, infinite, not above 0
// on a logarithmic axis) are left out, and a line is broken there. A plot without any point is a
// std::invalid_argument: leave it out. Texts are escaped here.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

enum class AxisScale { kLinear, kLog10 };

struct PlotPoint {
  double x = 0, y = 0;
  // Ends of an interval of y; not drawn where undefined.
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

enum class SeriesStyle { kMarkers, kLine, kDashedLine, kLineAndMarkers };

struct PlotSeries {
  std::string name = {};  // in the legend
  std::vector<PlotPoint> points = {};
  SeriesStyle style = SeriesStyle::kLineAndMarkers;
};

struct PlotAxis {
  std::string title = {};  // with the unit
  AxisScale scale = AxisScale::kLinear;
};

// Across the plot at one value of an axis.
struct ReferenceLine {
  double value = 0;
  std::string label = {};
};

struct LinePlot {
  std::string title = {};
  std::string description = {};  // what a reader who does not see it is told
  PlotAxis x = {}, y = {};
  std::vector<PlotSeries> series = {};
  std::vector<ReferenceLine> x_lines = {}, y_lines = {};  // vertical; horizontal
};

// From 0 to `value`, with its label and `number`, the value as text, above it.
struct PlotBar {
  std::string label = {}, number = {};
  double value = 0;
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

struct BarPlot {
  std::string title = {}, description = {};
  std::string axis_title = {};
  std::vector<PlotBar> bars = {};  // from top to bottom
  std::vector<ReferenceLine> lines = {};
};

KVALIGN_API std::string draw(const LinePlot& plot);
KVALIGN_API std::string draw(const BarPlot& plot);

// The style sheet of every plot on a page: the Okabe-Ito palette, which people with any colour
// vision tell apart, on a light and on a dark page.
KVALIGN_API std::string plot_style();

}  // namespace kvalign
