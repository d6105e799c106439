// See row_identity.h.
#include "row_identity.h"

#include <ATen/ATen.h>

#include <vector>

#include "kvalign/core/random.h"
#include "served_model.h"

namespace kvalign {
namespace {

// Every small size, where kernels change, then steps that are no multiples of a kernel's tile.
std::vector<int64_t> sizes_to_try(int64_t max_tokens) {
  std::vector<int64_t> sizes;
  constexpr int64_t kSmall = 16;
  for (int64_t size = 1; size < max_tokens; size += size < kSmall ? 1 : size / 2 + 1) {
    sizes.push_back(size);
  }
  return sizes;
}

}  // namespace

int64_t identical_from_tokens(const ServedModel& model, int64_t max_tokens) {
  at::Generator generator = make_generator(1);
  const at::Tensor rows_TF = at::randn({max_tokens, model.num_values()}, generator);
  const at::Tensor whole_RTD = model.project(rows_TF);
  std::vector<int64_t> sizes = sizes_to_try(max_tokens);
  int64_t identical = max_tokens;
  for (auto size = sizes.rbegin(); size != sizes.rend(); ++size) {
    const int64_t first = max_tokens - *size;  // not where the whole batch begins
    if (!model.project(rows_TF.narrow(0, first, *size)).equal(whole_RTD.narrow(1, first, *size))) {
      break;
    }
    identical = *size;
  }
  return identical;
}

}  // namespace kvalign
