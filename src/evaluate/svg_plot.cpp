// Lines and markers against two axes. See svg_plot.h; svg_bars.cpp has the bars.
#include "kvalign/evaluate/svg_plot.h"

#include <algorithm>
#include <cmath>

#include "svg_canvas.h"

namespace kvalign {
namespace {

constexpr double kPlotHeight = 210;
constexpr double kRightMargin = 10;
constexpr double kLegendKey = 26;  // a piece of line with its marker
constexpr double kLegendGap = 14;

struct Axes {
  SvgAxis x, y;
};

std::vector<double> x_values(const LinePlot& plot) {
  std::vector<double> values;
  for (const PlotSeries& series : plot.series) {
    for (const PlotPoint& point : series.points) values.push_back(point.x);
  }
  for (const ReferenceLine& line : plot.x_lines) values.push_back(line.value);
  return values;
}

std::vector<double> y_values(const LinePlot& plot) {
  std::vector<double> values;
  for (const PlotSeries& series : plot.series) {
    for (const PlotPoint& point : series.points) {
      for (const double value : {point.y, point.low, point.high}) values.push_back(value);
    }
  }
  for (const ReferenceLine& line : plot.y_lines) values.push_back(line.value);
  return values;
}

// The labels of an axis stand left of the plot: its begin depends on their width.
double left_margin(const SvgAxis& y) {
  double width = 0;
  for (const AxisTick& tick : y.ticks()) width = std::max(width, text_width(tick.label));
  return width + 8;
}

void draw_series(SvgCanvas& canvas, const Axes& axes, const PlotSeries& series, size_t number) {
  const bool has_line = series.style != SeriesStyle::kMarkers;
  const char* kind = series.style == SeriesStyle::kDashedLine ? "line dashed" : "line";
  const bool has_markers =
      series.style == SeriesStyle::kMarkers || series.style == SeriesStyle::kLineAndMarkers;
  std::vector<SvgPosition> piece;
  const auto end_piece = [&] {
    if (has_line && piece.size() > 1) canvas.path(piece, number, kind);
    if (has_markers || (has_line && piece.size() == 1)) {
      for (const SvgPosition& at : piece) canvas.marker(at, number);
    }
    piece.clear();
  };
  const std::string interval_kind = "interval " + series_class(number);
  for (const PlotPoint& point : series.points) {
    if (!axes.x.shows(point.x) || !axes.y.shows(point.y)) {
      end_piece();
      continue;
    }
    const double x = axes.x.at(point.x);
    if (std::isfinite(point.low) && std::isfinite(point.high)) {
      canvas.interval({x, axes.y.at(point.low)}, {x, axes.y.at(point.high)}, interval_kind);
    }
    piece.push_back({x, axes.y.at(point.y)});
  }
  end_piece();
}

// Labels stand above their lines at the right, each clear of the one below.
void draw_y_lines(SvgCanvas& canvas, const Axes& axes, std::vector<ReferenceLine> lines,
                  double left, double right) {
  std::erase_if(lines, [&](const ReferenceLine& line) { return !axes.y.shows(line.value); });
  std::sort(lines.begin(), lines.end(),
            [](const ReferenceLine& a, const ReferenceLine& b) { return a.value < b.value; });
  double baseline = 1e9;
  for (const ReferenceLine& line : lines) {
    const double y = axes.y.at(line.value);
    baseline = std::min(y - 4, baseline - kTextHeight);
    canvas.line({left, y}, {right, y}, "reference");
    canvas.text({right - 3, baseline}, TextAnchor::kEnd, "small halo", line.label);
  }
}

// Each label has a row of its own above the plot.
void draw_x_lines(SvgCanvas& canvas, const Axes& axes, const std::vector<ReferenceLine>& lines,
                  double top, double bottom) {
  double baseline = top - 4;
  for (const ReferenceLine& line : lines) {
    if (!axes.x.shows(line.value)) continue;
    const double x = axes.x.at(line.value);
    canvas.line({x, baseline + 2}, {x, bottom}, "reference");
    canvas.text({x, baseline}, TextAnchor::kMiddle, "small halo", line.label);
    baseline -= kTextHeight;
  }
}

// Keys and names in rows of the plot's width; returns the y below.
double draw_legend(SvgCanvas& canvas, const std::vector<PlotSeries>& all, double y) {
  double x = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const double width = kLegendKey + text_width(all[i].name);
    if (x == 0 || x + width > kPlotWidth) {
      x = 0;
      y += kTextHeight + 2;
    }
    const SvgPosition middle{x + kLegendKey / 2 - 3, y - 4};
    const SvgPosition begin{x, middle.y}, end{x + kLegendKey - 6, middle.y};
    if (all[i].style == SeriesStyle::kDashedLine) {
      canvas.path({begin, end}, i, "line dashed");
    } else if (all[i].style != SeriesStyle::kMarkers) {
      canvas.path({begin, end}, i, "line");
    }
    if (all[i].style == SeriesStyle::kMarkers || all[i].style == SeriesStyle::kLineAndMarkers) {
      canvas.marker(middle, i);
    }
    canvas.text({x + kLegendKey, y}, TextAnchor::kStart, "small", all[i].name);
    x += width + kLegendGap;
  }
  return y;
}

}  // namespace

std::string draw(const LinePlot& plot) {
  SvgCanvas canvas;
  double y = canvas.paragraph(0, "title", plot.title);
  y = canvas.paragraph(y + 4, "label", plot.y.title);
  const double top = y + 8 + kTextHeight * static_cast<double>(plot.x_lines.size());
  const double bottom = top + kPlotHeight;
  const SvgAxis y_axis(plot.y.scale, y_values(plot), bottom, top);
  const double left = left_margin(y_axis), right = kPlotWidth - kRightMargin;
  const Axes axes{SvgAxis(plot.x.scale, x_values(plot), left, right), y_axis};
  canvas.y_axis(axes.y, left, right);
  canvas.x_axis(axes.x, top, bottom, plot.x.title);
  canvas.line({left, bottom}, {right, bottom}, "axis");
  canvas.line({left, top}, {left, bottom}, "axis");
  for (size_t i = 0; i < plot.series.size(); ++i) {
    draw_series(canvas, axes, plot.series[i], i);
  }
  draw_y_lines(canvas, axes, plot.y_lines, left, right);
  draw_x_lines(canvas, axes, plot.x_lines, top, bottom);
  y = draw_legend(canvas, plot.series, bottom + 2 * kTextHeight + 8);
  return canvas.finish(plot.title, plot.description, y + 6);
}

// Series 1 to 7: blue, vermillion, bluish green, reddish purple, orange, sky blue and the text's
// own colour; the palette's yellow is too faint on white. On a dark page the two blues change
// places.
// Source: Okabe and Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/
std::string plot_style() {
  return R"(:root{--page:#fff;--series-0:#0072b2;--series-1:#d55e00;--series-2:#009e73;
--series-3:#cc79a7;--series-4:#e69f00;--series-5:#56b4e9}
@media screen and (prefers-color-scheme:dark){
:root{--page:#16181c;--series-0:#56b4e9;--series-5:#0072b2}}
.plot{display:block;width:100%;max-width:34rem;height:auto;font:12px system-ui,sans-serif}
.plot text{fill:currentColor}
.plot .title{font-weight:600}
.plot .small{font-size:11px}
.plot .halo{paint-order:stroke;stroke:var(--page);stroke-width:4px;stroke-linejoin:round}
.plot .grid{stroke:currentColor;stroke-opacity:.15}
.plot .axis{stroke:currentColor;stroke-opacity:.7}
.plot .reference{stroke:currentColor;stroke-opacity:.8;stroke-dasharray:2 3}
.plot .line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round}
.plot .dashed{stroke-dasharray:7 4}
.plot .marker,.plot .bar{fill:currentColor}
.plot .bar{fill-opacity:.6}
.plot .interval{stroke:currentColor;stroke-width:1.5}
.plot .series-0{color:var(--series-0)}
.plot .series-1{color:var(--series-1)}
.plot .series-2{color:var(--series-2)}
.plot .series-3{color:var(--series-3)}
.plot .series-4{color:var(--series-4)}
.plot .series-5{color:var(--series-5)}
)";
}

}  // namespace kvalign
