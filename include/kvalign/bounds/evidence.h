// Three kinds of number that a report must never mix, as three types that the compiler keeps apart:
//
//   Measured     observed on the data at hand; says nothing of other data
//   Certified    an upper bound, proved for every input that agrees with what is known
//   Statistical  an upper or lower limit for the population, wrong with probability 1 - confidence
//
// None converts to another or to double; between two kinds there are named functions only.
#pragma once

#include <algorithm>
#include <compare>
#include <limits>

#include "kvalign/bounds/rounding.h"

namespace kvalign {

class Measured {
 public:
  explicit constexpr Measured(double value) : value_(value) {}
  constexpr double value() const { return value_; }

  friend constexpr Measured operator+(Measured a, Measured b) {
    return Measured(a.value_ + b.value_);
  }
  friend constexpr Measured operator-(Measured a, Measured b) {
    return Measured(a.value_ - b.value_);
  }
  friend constexpr auto operator<=>(Measured, Measured) = default;

 private:
  double value_;
};

/// An upper bound of something that is not negative; infinity where nothing can be said.
class Certified {
 public:
  explicit constexpr Certified(double value) : value_(value) {}
  constexpr double value() const { return value_; }

  /// Of a sum (by the triangle inequality) and of a product, rounded upwards.
  friend constexpr Certified operator+(Certified a, Certified b) {
    return Certified(raised(a.value_ + b.value_, 1));
  }
  /// Zero times infinity is zero: a factor that is certainly zero.
  friend constexpr Certified operator*(Certified a, Certified b) {
    const bool zero = a.value_ == 0 || b.value_ == 0;
    return Certified(zero ? 0 : raised(a.value_ * b.value_, 1));
  }
  friend constexpr auto operator<=>(Certified, Certified) = default;

 private:
  double value_;
};

/// Of whichever of two things is larger.
constexpr Certified max(Certified a, Certified b) {
  return a < b ? b : a;
}
/// Two bounds of one thing: the better one.
constexpr Certified tighter(Certified a, Certified b) {
  return b < a ? b : a;
}

class Statistical {
 public:
  /// `confidence` in [0, 1).
  explicit constexpr Statistical(double value, double confidence)
      : value_(value), confidence_(confidence) {}
  constexpr double value() const { return value_; }
  constexpr double confidence() const { return confidence_; }

  /// Both hold together with at least this confidence, whatever their dependence (Boole).
  friend constexpr Statistical operator+(Statistical a, Statistical b) {
    return Statistical(a.value_ + b.value_, std::max(0.0, a.confidence_ + b.confidence_ - 1));
  }

 private:
  double value_, confidence_;
};

/// How much of a bound was used: measured / certified, 0 where both are 0. Above 1 it was violated.
constexpr double tightness(Measured measured, Certified certified) {
  if (measured.value() == 0) return 0;
  if (certified.value() == 0) return std::numeric_limits<double>::infinity();
  return measured.value() / certified.value();
}
constexpr bool holds(Measured measured, Certified certified) {
  return measured.value() <= certified.value();
}

}  // namespace kvalign
