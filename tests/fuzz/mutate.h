// What tests/fuzz/mutate.cpp has to know of a format: one *_seeds.cpp for each.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace kvalign::testing {

// Good files, from which all inputs are made.
std::vector<std::string> fuzz_seeds();

// What files are made of, and values at which checks go wrong.
std::vector<std::string_view> fuzz_tokens();

// After an edit the lengths or checksums of a file do not fit, and nothing behind their check would
// be reached. `seed` is the index of the good file.
void mend(std::string& file, size_t seed);

}  // namespace kvalign::testing
