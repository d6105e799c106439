// The instruction sets of this machine that Highway's run-time dispatch knows, and a way to force
// one of them while an object lives.
#pragma once

#include <hwy/highway.h>

#include <cstdint>
#include <vector>

namespace kvalign::testing {

inline std::vector<int64_t> instruction_sets() {
  std::vector<int64_t> sets;
  // Of Highway's defaults the codec leaves out SVE, and adds AVX-512 with VBMI.
  const int64_t sve = HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128;
  const int64_t compiled = (HWY_TARGETS | HWY_AVX3_DL) & ~sve;
  for (int64_t rest = hwy::SupportedTargets() & compiled; rest != 0; rest &= rest - 1) {
    sets.push_back(rest & -rest);
  }
  return sets;
}

class ForcedInstructionSet {
 public:
  explicit ForcedInstructionSet(int64_t set) { hwy::SetSupportedTargetsForTest(set); }
  ForcedInstructionSet(const ForcedInstructionSet&) = delete;
  ForcedInstructionSet& operator=(const ForcedInstructionSet&) = delete;
  ~ForcedInstructionSet() { hwy::SetSupportedTargetsForTest(0); }
};

}  // namespace kvalign::testing
