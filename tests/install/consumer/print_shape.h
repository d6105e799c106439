// What both consumers print of a cache.
#pragma once

#include <cstdio>

#include "kvalign/core/kv_cache.h"

inline void print_shape(const kvalign::KvCache& cache) {
  std::printf("%lld layers, keys of layer 5: %lld x %lld x %lld\n",
              static_cast<long long>(cache.geometry().num_layers),
              static_cast<long long>(cache.keys(5).size(1)),
              static_cast<long long>(cache.keys(5).size(2)),
              static_cast<long long>(cache.keys(5).size(3)));
}
