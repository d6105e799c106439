// Runs a Python script with the packages that the tests compare with (KVALIGN_PYTHON).
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace kvalign {

inline bool has_python() {
  return std::filesystem::exists(KVALIGN_PYTHON);
}

// The exit status of `script`, which finds `arguments` in sys.argv[1:]. Neither may hold an
// apostrophe. PYTHONPATH and sanitisers of this process stay out of it.
inline int run_python(const std::string& script, const std::string& arguments) {
  const std::string command =
      "env -u PYTHONPATH -u LD_PRELOAD '" KVALIGN_PYTHON "' -I -c '" + script + "' " + arguments;
  return std::system(command.c_str());
}

}  // namespace kvalign

#define KVALIGN_SKIP_WITHOUT_PYTHON()                                                      \
  if (!::kvalign::has_python()) {                                                          \
    GTEST_SKIP() << KVALIGN_PYTHON " is missing: run scripts/setup.sh to compare with it"; \
  }
