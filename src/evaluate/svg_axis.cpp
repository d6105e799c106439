// Ranges and ticks. See svg_axis.h.
#include "svg_axis.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "number_text.h"

namespace kvalign {
namespace {

constexpr double kWantedTicks = 6;
// Of the range, added at an end so that no marker touches the frame; not where that end is 0.
constexpr double kMargin = 0.04;

// A logarithmic axis of more decades has ticks at powers of ten alone; one of fewer than the second
// has those of a linear axis.
constexpr double kLongDecades = 2.5;
constexpr double kShortDecades = 1;

// The smallest of 1, 2, 5, 10, 20, ... times a power of ten that is at least `least`.
double nice_step(double least) {
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

std::string superscript(int number) {
  static constexpr std::array<const char*, 10> kDigits{"⁰", "¹", "²", "³", "⁴",
                                                       "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string text = number < 0 ? "⁻" : "";
  for (const char digit : std::to_string(std::abs(number))) text += kDigits[digit - '0'];
  return text;
}

std::string fixed(double value, int decimals) {
  std::array<char, 64> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value,
                                 std::chars_format::fixed, decimals);
  return {text.data(), end.ptr};
}

// "2 × 10⁻⁵", or "10⁻⁵".
std::string scientific(double value) {
  const int exponent = static_cast<int>(std::floor(std::log10(value) + 1e-9));
  const double digit = value / std::pow(10.0, exponent);
  const int decimals = std::abs(digit - std::round(digit)) < 1e-6 ? 0 : 2;
  const std::string factor = fixed(digit, decimals);
  return (factor == "1" ? "" : factor + " × ") + "10" + superscript(exponent);
}

std::vector<AxisTick> linear_ticks(double low, double high, bool whole) {
  double step = nice_step((high - low) / kWantedTicks);
  if (whole) step = std::max(step, 1.0);
  std::vector<AxisTick> ticks;
  for (double i = std::ceil(low / step); i * step <= high; ++i) {
    ticks.push_back({i * step, tick_label(i * step, step)});
  }
  return ticks;
}

}  // namespace

std::string tick_label(double value, double step) {
  if (value < 0) return "−" + tick_label(-value, step);
  if (value < step * 1e-6) return "0";
  if (value >= 1e6 || step < 1e-4) return scientific(value);
  const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
  return with_commas(fixed(value, decimals));
}

SvgAxis::SvgAxis(AxisScale scale, const std::vector<double>& values, double begin, double end)
    : scale_(scale), begin_(begin), end_(end) {
  bool any = false;
  for (const double value : values) {
    if (!shows(value)) continue;
    const double place = position(value);
    low_ = any ? std::min(low_, place) : place;
    high_ = any ? std::max(high_, place) : place;
    whole_ = whole_ && value == std::round(value);
    any = true;
  }
  if (!any) {
    throw std::invalid_argument(
        "SvgAxis: expected a finite value to show (above 0 on a logarithmic axis), got none of " +
        std::to_string(values.size()) + ". Leave the plot out.");
  }
  // One value alone stands in the middle.
  const double size = std::max(std::abs(low_), std::abs(high_));
  if (high_ - low_ <= 1e-9 * size || high_ == low_) {
    const double room = scale == AxisScale::kLog10 || size == 0 ? 0.5 : 0.5 * size;
    low_ -= room;
    high_ += room;
    return;
  }
  const double margin = kMargin * (high_ - low_);
  const bool keeps_zero = scale == AxisScale::kLinear;
  if (!keeps_zero || low_ != 0) low_ -= margin;
  if (!keeps_zero || high_ != 0) high_ += margin;
}

bool SvgAxis::shows(double value) const {
  return std::isfinite(value) && (scale_ == AxisScale::kLinear || value > 0);
}

double SvgAxis::position(double value) const {
  return scale_ == AxisScale::kLinear ? value : std::log10(value);
}

double SvgAxis::at(double value) const {
  const double share = (position(value) - low_) / (high_ - low_);
  return begin_ + std::clamp(share, 0.0, 1.0) * (end_ - begin_);
}

std::vector<AxisTick> SvgAxis::ticks() const {
  if (scale_ == AxisScale::kLinear) return linear_ticks(low_, high_, whole_);
  const double decades = high_ - low_;
  if (decades < kShortDecades) {
    return linear_ticks(std::pow(10.0, low_), std::pow(10.0, high_), whole_);
  }
  std::vector<AxisTick> ticks;
  const double every = std::max(1.0, std::ceil(decades / kWantedTicks));
  for (double i = std::floor(low_ / every) * every; i <= high_; i += every) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double value = factor * std::pow(10.0, i);
      if (std::log10(value) < low_ || std::log10(value) > high_) continue;
      ticks.push_back({value, tick_label(value, value)});
      if (decades > kLongDecades) break;
    }
  }
  return ticks;
}

}  // namespace kvalign
