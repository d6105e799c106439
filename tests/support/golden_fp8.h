// Reads tests/golden/fp8_v1.bin; tests/golden/make_fp8.py describes it.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <ios>

#include "kvalign/format/fp8.h"

namespace kvalign::testing {

struct GoldenFp8 {
  struct Format {
    std::array<float, 256> values;
    std::array<uint8_t, 65536> of_float16, of_bfloat16;
  };
  Format formats[2];  // in the order of Fp8Format
  std::array<float, 256> e8m0_values;
  std::array<uint8_t, 0x7F80> block_scales[2];

  const Format& of(Fp8Format format) const { return formats[static_cast<int>(format)]; }
};
static_assert(sizeof(GoldenFp8) == 330496, "read in one piece, so without padding");

inline void read_golden_fp8(GoldenFp8& golden) {
  std::ifstream file(KVALIGN_SOURCE_DIR "/tests/golden/fp8_v1.bin", std::ios::binary);
  file.read(reinterpret_cast<char*>(&golden), sizeof golden);
  ASSERT_TRUE(file.good()) << "tests/golden/fp8_v1.bin: not there, or too short";
  ASSERT_EQ(file.peek(), std::ifstream::traits_type::eof()) << "longer than its description";
}

}  // namespace kvalign::testing
