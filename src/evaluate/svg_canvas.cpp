// Elements as text. See svg_canvas.h.
#include "svg_canvas.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "markup.h"

namespace kvalign {
namespace {

// Of system fonts at 12 units: 0.55 em a character is wide for a sentence.
constexpr double kCharacterWidth = 6.6;
constexpr double kMarkerRadius = 3.6;
constexpr double kCap = 3;
constexpr size_t kNumColours = 7;  // of plot_style(), the text's own among them

// Tenths of a unit, without a trailing ".0".
std::string tenths(double value) {
  std::array<char, 32> text;
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, 1);
  std::string result(text.data(), end.ptr);
  if (result.ends_with(".0")) result.resize(result.size() - 2);
  return result == "-0" ? "0" : result;
}

// ` name="12.5"`
std::string attribute(const char* name, double value) {
  return std::string(" ") + name + "=\"" + tenths(value) + "\"";
}

// Corners of the outline around the origin, for a radius of 1; a circle for none.
struct Corners {
  std::vector<SvgPosition> points;
};

const Corners& marker_corners(size_t series) {
  static const std::array<Corners, 7> kShapes{{
      {},                                              // circle
      {{{-.9, -.9}, {.9, -.9}, {.9, .9}, {-.9, .9}}},  // square
      {{{0, -1.2}, {1.1, .8}, {-1.1, .8}}},            // triangle
      {{{0, -1.3}, {1.3, 0}, {0, 1.3}, {-1.3, 0}}},    // diamond
      {{{0, 1.2}, {1.1, -.8}, {-1.1, -.8}}},           // triangle, point down
      {{{-.4, -1.2},
        {.4, -1.2},
        {.4, -.4},
        {1.2, -.4},
        {1.2, .4},
        {.4, .4},
        {.4, 1.2},
        {-.4, 1.2},
        {-.4, .4},
        {-1.2, .4},
        {-1.2, -.4},
        {-.4, -.4}}},                                      // plus
      {{{-1.2, -.5}, {1.2, -.5}, {1.2, .5}, {-1.2, .5}}},  // bar
  }};
  // When the colours come again, they do with other shapes.
  return kShapes[(series + series / kNumColours) % kShapes.size()];
}

}  // namespace

double text_width(const std::string& text) {
  return kCharacterWidth * std::count_if(text.begin(), text.end(), [](char c) {
           return (c & 0xc0) != 0x80;  // UTF-8 bytes that begin a character
         });
}

std::string series_class(size_t series) {
  return "series-" + std::to_string(series % kNumColours);
}

std::vector<std::string> wrap_text(const std::string& text, double width) {
  std::vector<std::string> lines;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (!lines.empty() && text_width(lines.back() + " " + word) <= width) {
      lines.back() += " " + word;
    } else {
      lines.push_back(word);
    }
  }
  return lines;
}

void SvgCanvas::text(SvgPosition at, TextAnchor anchor, const char* kind, const std::string& text) {
  static constexpr std::array<const char*, 3> kNames{"start", "middle", "end"};
  const double width = text_width(text);
  const double before = anchor == TextAnchor::kStart ? 0
                        : anchor == TextAnchor::kEnd ? width
                                                     : width / 2;
  at.x = std::max(before, std::min(at.x, kPlotWidth - (width - before)));
  body_ += "<text class=\"" + std::string(kind) + "\"" + attribute("x", at.x) +
           attribute("y", at.y) + " text-anchor=\"" + kNames[static_cast<size_t>(anchor)] + "\">" +
           escape_markup(text) + "</text>\n";
}

void SvgCanvas::line(SvgPosition from, SvgPosition to, const std::string& kind) {
  body_ += "<line class=\"" + kind + "\"" + attribute("x1", from.x) + attribute("y1", from.y) +
           attribute("x2", to.x) + attribute("y2", to.y) + "/>\n";
}

void SvgCanvas::rectangle(SvgPosition corner, double width, double height,
                          const std::string& kind) {
  body_ += "<rect class=\"" + kind + "\"" + attribute("x", corner.x) + attribute("y", corner.y) +
           attribute("width", width) + attribute("height", height) + "/>\n";
}

void SvgCanvas::path(const std::vector<SvgPosition>& points, size_t series, const char* kind) {
  body_ += "<polyline class=\"" + std::string(kind) + " " + series_class(series) + "\" points=\"";
  for (size_t i = 0; i < points.size(); ++i) {
    body_ += (i == 0 ? "" : " ") + tenths(points[i].x) + "," + tenths(points[i].y);
  }
  body_ += "\"/>\n";
}

void SvgCanvas::marker(SvgPosition at, size_t series) {
  const std::string kind = "marker " + series_class(series);
  const Corners& corners = marker_corners(series);
  if (corners.points.empty()) {
    body_ += "<circle class=\"" + kind + "\"" + attribute("cx", at.x) + attribute("cy", at.y) +
             attribute("r", kMarkerRadius) + "/>\n";
    return;
  }
  body_ += "<polygon class=\"" + kind + "\" points=\"";
  std::string separator;
  for (const SvgPosition& corner : corners.points) {
    body_ += separator + tenths(at.x + kMarkerRadius * corner.x) + "," +
             tenths(at.y + kMarkerRadius * corner.y);
    separator = " ";
  }
  body_ += "\"/>\n";
}

void SvgCanvas::interval(SvgPosition from, SvgPosition to, const std::string& kind) {
  const bool upright = from.x == to.x;
  const double dx = upright ? kCap : 0, dy = upright ? 0 : kCap;
  line(from, to, kind);
  for (const SvgPosition& end : {from, to}) {
    line({end.x - dx, end.y - dy}, {end.x + dx, end.y + dy}, kind);
  }
}

void SvgCanvas::x_axis(const SvgAxis& axis, double top, double bottom, const std::string& title) {
  double free_from = 0;
  for (const AxisTick& tick : axis.ticks()) {
    const double x = axis.at(tick.value);
    line({x, top}, {x, bottom}, "grid");
    const double half = text_width(tick.label) / 2;
    if (x - half < free_from) continue;
    text({x, bottom + kTextHeight}, TextAnchor::kMiddle, "small", tick.label);
    free_from = x + half + kCharacterWidth;
  }
  text({kPlotWidth / 2, bottom + 2 * kTextHeight + 2}, TextAnchor::kMiddle, "label", title);
}

void SvgCanvas::y_axis(const SvgAxis& axis, double left, double right) {
  for (const AxisTick& tick : axis.ticks()) {
    const double y = axis.at(tick.value);
    line({left, y}, {right, y}, "grid");
    text({left - 5, y + 4}, TextAnchor::kEnd, "small", tick.label);
  }
}

double SvgCanvas::paragraph(double y, const char* kind, const std::string& text) {
  for (const std::string& line : wrap_text(text, kPlotWidth)) {
    y += kTextHeight;
    this->text({0, y}, TextAnchor::kStart, kind, line);
  }
  return y;
}

std::string SvgCanvas::finish(const std::string& title, const std::string& description,
                              double height) const {
  return "<svg class=\"plot\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 " +
         tenths(kPlotWidth) + " " + tenths(height) + "\">\n<title>" + escape_markup(title) +
         "</title>\n<desc>" + escape_markup(description) + "</desc>\n" + body_ + "</svg>\n";
}

}  // namespace kvalign
