// Random numbers that are a pure function of (seed, position): the same on every machine, for data
// order, splits and generated caches. Not for cryptography, and not for tensors of random numbers
// on a GPU.
#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

// SplitMix64 (Steele, Lea, Flood 2014; reference code at https://prng.di.unimi.it/splitmix64.c).
// Number i of a seed is a hash of seed + (i + 1) * 0x9e3779b97f4a7c15, so any position can be
// entered.
class KVALIGN_API Random {
 public:
  explicit Random(uint64_t seed, uint64_t position = 0) : seed_(seed), position_(position) {}

  // How many 64-bit numbers were drawn; Random(seed, position()) continues from here.
  uint64_t position() const { return position_; }

  // 64 uniform bits. Uses one position.
  uint64_t bits();

  // Uniform in [0, 1), a multiple of 2^-53: bits() >> 11. Uses one position.
  double uniform();

  // Normal with mean 0 and variance 1, by Box-Muller in double. Uses two positions.
  // Equal across machines as far as their log and cos are; everything else here is bit-equal.
  double normal();

  // Uniform integer in [0, bound), without modulo bias. Uses one position, rarely more.
  // Errors: c10::Error unless bound is positive.
  int64_t below(int64_t bound);

 private:
  uint64_t seed_;
  uint64_t position_;
};

// A seed for an independent sequence: derive_seed(seed, epoch), derive_seed(seed, worker).
KVALIGN_API uint64_t derive_seed(uint64_t seed, uint64_t stream);

// A permutation of 0 .. count-1 by Fisher-Yates, from the last element down.
// Errors: c10::Error for a negative count.
KVALIGN_API std::vector<int64_t> shuffled_indices(int64_t count, uint64_t seed);

// A CPU generator for ATen's own random functions; repeatable for one LibTorch version.
KVALIGN_API at::Generator make_generator(uint64_t seed);

}  // namespace kvalign
