// One axis of a plot: which values it shows, where it puts each, and the ticks between. Private to
// evaluate/.
#pragma once

#include <string>
#include <vector>

#include "kvalign/evaluate/svg_plot.h"

namespace kvalign {

struct AxisTick {
  double value = 0;
  std::string label = {};
};

class SvgAxis {
 public:
  // Covers all of `values` that the scale can show (finite; above 0 on a logarithmic one), and runs
  // from `begin` to `end`, which may be the smaller one. Throws std::invalid_argument where the
  // scale can show none of them.
  SvgAxis(AxisScale scale, const std::vector<double>& values, double begin, double end);

  bool shows(double value) const;
  // Where `value`, which the axis shows, stands. What lies outside is moved to the nearer end.
  double at(double value) const;
  // On a linear axis a multiple of 1, 2 or 5 times a power of ten apart, at whole numbers where all
  // values are whole; on a logarithmic one at powers of ten, with more between where it is short.
  std::vector<AxisTick> ticks() const;

 private:
  double position(double value) const;  // the value, or its logarithm

  AxisScale scale_;
  double begin_, end_;
  bool whole_ = true;  // all values are whole numbers
  double low_ = 0, high_ = 0;
};

// "0.25", "12,000", "3 × 10⁻⁷": as many digits as ticks that are `step` apart need.
std::string tick_label(double value, double step);

}  // namespace kvalign
