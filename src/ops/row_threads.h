// How rows are shared out among threads. Private to ops/.
#pragma once

#include <algorithm>
#include <cstdint>

namespace kvalign {

// Rows of `width` numbers that are worth a thread: at::parallel_for's grain.
inline int64_t rows_worth_a_thread(int64_t width) {
  return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, width));
}

}  // namespace kvalign
