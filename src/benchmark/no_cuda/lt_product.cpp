// A build without a CUDA toolkit has no cuBLASLt. See lt_product.h.
#include "src/benchmark/lt_product.h"

#include <c10/util/Exception.h>

namespace kvalign::benchmark {

Product make_lt_product(int, const at::Tensor&, const at::Tensor&, int64_t) {
  TORCH_CHECK(false, "cublaslt: this build has no CUDA, so that nothing is multiplied on a device");
}

}  // namespace kvalign::benchmark
