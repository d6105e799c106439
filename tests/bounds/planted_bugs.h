// A bug that is easily made, and the check that must see it: table rows of planted_*_test.cpp.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <ostream>

#include "tests/bounds/true_bounds.h"

namespace kvalign::testing {

struct PlantedBug {
  const char* name;                    // what is wrong, as a test name
  std::function<Tightness()> checked;  // the check run on the wrong variant
};
inline void PrintTo(const PlantedBug& bug, std::ostream* out) {
  *out << bug.name;
}

class PlantedBugs : public ::testing::TestWithParam<PlantedBug> {};

inline std::string name_of_bug(const ::testing::TestParamInfo<PlantedBug>& bug) {
  return bug.param.name;
}

}  // namespace kvalign::testing
