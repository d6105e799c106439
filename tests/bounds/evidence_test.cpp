// The compiler keeps the three kinds of number apart; what is allowed gives what it says.
#include "kvalign/bounds/evidence.h"

#include <gtest/gtest.h>

#include <concepts>
#include <limits>

namespace kvalign {
namespace {

template <class A, class B>
concept Adds = requires(A a, B b) {
  a + b;
};
template <class A, class B>
concept Subtracts = requires(A a, B b) {
  a - b;
};
template <class A, class B>
concept Multiplies = requires(A a, B b) {
  a* b;
};
template <class A, class B>
concept Compares = requires(A a, B b) {
  a < b;
};
template <class A, class B>
concept Equals = requires(A a, B b) {
  a == b;
};
template <class A, class B>
concept Maximises = requires(A a, B b) {
  max(a, b);
};
template <class A, class B>
concept Tightens = requires(A a, B b) {
  tighter(a, b);
};
template <class A, class B>
concept HasTightness = requires(A a, B b) {
  tightness(a, b);
};
template <class A, class B>
concept Mixes = Adds<A, B> || Subtracts<A, B> || Multiplies<A, B> || Compares<A, B> ||
    Equals<A, B> || Maximises<A, B> || Tightens<A, B> || std::assignable_from<A&, B> ||
    std::convertible_to<A, B> || std::constructible_from<A, B>;

static_assert(!Mixes<Measured, Certified> && !Mixes<Certified, Measured>);
static_assert(!Mixes<Measured, Statistical> && !Mixes<Statistical, Measured>);
static_assert(!Mixes<Certified, Statistical> && !Mixes<Statistical, Certified>);

// Neither from nor to a plain number without saying so.
template <class A>
concept StandsAlone =
    !std::convertible_to<double, A> && !std::convertible_to<A, double> && !Adds<A, double> &&
    !Adds<double, A> && !Compares<A, double> && !std::assignable_from<A&, double>;
static_assert(StandsAlone<Measured> && StandsAlone<Certified> && StandsAlone<Statistical>);
static_assert(std::constructible_from<Measured, double>);
static_assert(!std::constructible_from<Statistical, double>, "a confidence belongs to it");

// What would be wrong within one kind: a difference of upper bounds bounds nothing.
static_assert(!Subtracts<Certified, Certified> && !Subtracts<Statistical, Statistical>);
static_assert(!Multiplies<Statistical, Statistical> && !Compares<Statistical, Statistical>);

static_assert(Adds<Measured, Measured> && Subtracts<Measured, Measured>);
static_assert(Adds<Certified, Certified> && Multiplies<Certified, Certified>);
static_assert(Maximises<Certified, Certified> && Tightens<Certified, Certified>);
static_assert(Adds<Statistical, Statistical>);
static_assert(HasTightness<Measured, Certified>);
static_assert(!HasTightness<Certified, Measured> && !HasTightness<Certified, Certified> &&
              !HasTightness<Measured, Statistical> && !HasTightness<double, double>);

TEST(Evidence, CertifiedIsRoundedUpwards) {
  const Certified sum = Certified(0.1) + Certified(0.2);
  EXPECT_GE(static_cast<long double>(sum.value()),
            static_cast<long double>(0.1) + static_cast<long double>(0.2));
  const Certified product = Certified(0.1) * Certified(0.3);
  EXPECT_GE(static_cast<long double>(product.value()),
            static_cast<long double>(0.1) * static_cast<long double>(0.3));
  EXPECT_EQ((Certified(0) * Certified(std::numeric_limits<double>::infinity())).value(), 0);
  EXPECT_EQ(max(Certified(1), Certified(2)).value(), 2);
  EXPECT_EQ(tighter(Certified(1), Certified(2)).value(), 1);
}

TEST(Evidence, StatisticalSumsSpendBothErrors) {
  const Statistical sum = Statistical(1, 0.95) + Statistical(2, 0.975);
  EXPECT_EQ(sum.value(), 3);
  EXPECT_NEAR(sum.confidence(), 0.925, 1e-15);
  EXPECT_EQ((Statistical(1, 0.4) + Statistical(2, 0.4)).confidence(), 0);
}

TEST(Evidence, TightnessTellsAViolation) {
  EXPECT_EQ(tightness(Measured(1), Certified(2)), 0.5);
  EXPECT_EQ(tightness(Measured(0), Certified(0)), 0);
  EXPECT_GT(tightness(Measured(1), Certified(0)), 1);
  EXPECT_TRUE(holds(Measured(1), Certified(1)));
  EXPECT_FALSE(holds(Measured(std::numeric_limits<double>::quiet_NaN()), Certified(1)));
  EXPECT_EQ((Measured(3) - Measured(1) + Measured(1)).value(), 3);
}

}  // namespace
}  // namespace kvalign
