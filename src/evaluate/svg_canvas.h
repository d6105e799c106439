// The elements a plot is made of, and how much room its texts take. Private to evaluate/.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "svg_axis.h"

namespace kvalign {

// In the units of the view box, which is shown 350 to 540 pixels wide.
constexpr double kPlotWidth = 400;
constexpr double kTextHeight = 15;

// An estimate, wide rather than narrow: which font a reader has is not known here.
double text_width(const std::string& text);

// Lines of whole words that fit `width`, if the words do.
std::vector<std::string> wrap_text(const std::string& text, double width);

// The class of plot_style() that has the series' colour.
std::string series_class(size_t series);

enum class TextAnchor { kStart, kMiddle, kEnd };

struct SvgPosition {
  double x = 0, y = 0;
};

class SvgCanvas {
 public:
  // `kind` is a class of plot_style(). A text is moved so that it stays between the sides.
  void text(SvgPosition at, TextAnchor anchor, const char* kind, const std::string& text);
  void line(SvgPosition from, SvgPosition to, const std::string& kind);
  void rectangle(SvgPosition corner, double width, double height, const std::string& kind);
  // Through all of them, in the colour of series number `series`.
  void path(const std::vector<SvgPosition>& points, size_t series, const char* kind);
  // In the series' shape and colour: 49 pairs.
  void marker(SvgPosition at, size_t series);
  // An interval with caps, upright or lying.
  void interval(SvgPosition from, SvgPosition to, const std::string& kind);

  // Ticks, their labels where these do not overlap, grid lines across `from` to `to`, and the
  // title.
  void x_axis(const SvgAxis& axis, double top, double bottom, const std::string& title);
  void y_axis(const SvgAxis& axis, double left, double right);

  // Each line of `text`, from `y` down; returns the y below.
  double paragraph(double y, const char* kind, const std::string& text);

  std::string finish(const std::string& title, const std::string& description, double height) const;

 private:
  std::string body_;
};

}  // namespace kvalign
