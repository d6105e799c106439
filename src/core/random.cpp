// SplitMix64 and what is drawn from it.
#include "kvalign/core/random.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

namespace kvalign {

uint64_t Random::bits() {
  ++position_;
  // The reference adds the odd constant 2^64 / golden ratio before every number.
  uint64_t hash = seed_ + position_ * 0x9e3779b97f4a7c15u;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  return hash ^ (hash >> 31);
}

double Random::uniform() {
  return static_cast<double>(bits() >> 11) * 0x1.0p-53;
}

double Random::normal() {
  // 1 - u lies in (0, 1]: the logarithm is finite. The sine is thrown away, which keeps the
  // number of positions that a call uses fixed.
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

int64_t Random::below(int64_t bound) {
  TORCH_CHECK(bound > 0, "Random::below: expected a positive bound, got ", bound);
  const uint64_t range = static_cast<uint64_t>(bound);
  // 2^64 mod range: below it, small remainders would be drawn once more often than large ones.
  const uint64_t first_fair = (0 - range) % range;
  uint64_t drawn = bits();
  while (drawn < first_fair) drawn = bits();
  return static_cast<int64_t>(drawn % range);
}

uint64_t derive_seed(uint64_t seed, uint64_t stream) {
  return Random(seed, stream).bits();
}

std::vector<int64_t> shuffled_indices(int64_t count, uint64_t seed) {
  TORCH_CHECK(count >= 0, "shuffled_indices: expected a count of at least 0, got ", count);
  std::vector<int64_t> indices(static_cast<size_t>(count));
  std::iota(indices.begin(), indices.end(), 0);
  Random random(seed);
  for (int64_t last = count - 1; last > 0; --last) {
    std::swap(indices[static_cast<size_t>(last)],
              indices[static_cast<size_t>(random.below(last + 1))]);
  }
  return indices;
}

at::Generator make_generator(uint64_t seed) {
  return at::detail::createCPUGenerator(seed);
}

}  // namespace kvalign
