// float32 on the CPU goes through row_sums.h, with whatever strides rows have: a projector's output
// is often a transposed view, and copying it would cost as much as the sums. Other dtypes and
// devices go through ATen.
#include "kvalign/ops/row_products.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "row_sums.h"
#include "row_threads.h"

namespace kvalign {
namespace {

bool runs_here(const at::Tensor& tensor_RTD) {
  return tensor_RTD.is_cpu() && tensor_RTD.scalar_type() == at::kFloat;
}

// Rows without gaps, in place where they are so already.
at::Tensor with_dense_rows(const at::Tensor& tensor_RTD) {
  return tensor_RTD.stride(2) == 1 ? tensor_RTD : tensor_RTD.contiguous();
}

// Calls `work`(row, first of it in each tensor ...) for all rows, which have dense elements.
template <class Work, class... Float>
void for_rows(const at::Tensor& shape_RTD, const Work& work,
              std::pair<Float*, const at::Tensor&>... tensors) {
  const int64_t num_tokens = shape_RTD.size(1);
  at::parallel_for(0, shape_RTD.size(0) * num_tokens, rows_worth_a_thread(shape_RTD.size(2)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t row = begin; row < end; ++row) {
                       work(row, (tensors.first + row / num_tokens * tensors.second.stride(0) +
                                  row % num_tokens * tensors.second.stride(1))...);
                     }
                   });
}

using Read = std::pair<const float*, const at::Tensor&>;
using Write = std::pair<float*, const at::Tensor&>;

// [R, T, 4] float64
at::Tensor sums_of(const at::Tensor& first_RTD, const at::Tensor& second_RTD) {
  if (!runs_here(first_RTD)) {
    const auto squares = [](const at::Tensor& rows_RTD) {
      return at::linalg_vector_norm(rows_RTD, 2, at::IntArrayRef({2}), false, at::kDouble).square();
    };
    return at::stack({squares(first_RTD), squares(second_RTD),
                      (first_RTD * second_RTD).sum(at::IntArrayRef({2}), false, at::kDouble),
                      squares(first_RTD - second_RTD)},
                     2);
  }
  at::Tensor sums_RT4 =
      at::empty({first_RTD.size(0), first_RTD.size(1), 4}, first_RTD.options().dtype(at::kDouble));
  auto* sums = sums_RT4.mutable_data_ptr<double>();
  for_rows(
      first_RTD,
      [&](int64_t row, const float* first, const float* second) {
        sum_row(first, second, first_RTD.size(2), sums + 4 * row);
      },
      Read{first_RTD.const_data_ptr<float>(), first_RTD},
      Read{second_RTD.const_data_ptr<float>(), second_RTD});
  return sums_RT4;
}

// first_factor first + second_factor second, [R, T, D] with the strides of `first`; factors [R, T].
at::Tensor combined(const at::Tensor& first_RTD, const at::Tensor& first_factor_RT,
                    const at::Tensor& second_RTD, const at::Tensor& second_factor_RT) {
  if (!runs_here(first_RTD)) {
    return (first_RTD * first_factor_RT.unsqueeze(2))
        .addcmul_(second_RTD, second_factor_RT.unsqueeze(2));
  }
  at::Tensor output_RTD = at::empty_like(first_RTD);
  const at::Tensor first_factors = first_factor_RT.contiguous();
  const at::Tensor second_factors = second_factor_RT.contiguous();
  const auto* first_factor = first_factors.const_data_ptr<float>();
  const auto* second_factor = second_factors.const_data_ptr<float>();
  for_rows(
      first_RTD,
      [&](int64_t row, const float* first, const float* second, float* output) {
        combine_row(first, first_factor[row], second, second_factor[row], first_RTD.size(2),
                    output);
      },
      Read{first_RTD.const_data_ptr<float>(), first_RTD},
      Read{second_RTD.const_data_ptr<float>(), second_RTD},
      Write{output_RTD.mutable_data_ptr<float>(), output_RTD});
  return output_RTD;
}

class RowProductsFunction : public torch::autograd::Function<RowProductsFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& first_RTD,
                            const at::Tensor& second_RTD) {
    context->save_for_backward({first_RTD, second_RTD});
    return sums_of(first_RTD, second_RTD);
  }

  // d(sum first^2) = 2 first, d(sum first second) = second, d(sum (first - second)^2) =
  // 2 (first - second).
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto dtype = saved[0].scalar_type();
    const at::Tensor of_difference_RT = 2 * gradients[0].select(2, 3);
    const at::Tensor of_first_RT = 2 * gradients[0].select(2, 0) + of_difference_RT;
    const at::Tensor of_second_RT = gradients[0].select(2, 2) - of_difference_RT;
    return {combined(saved[0], of_first_RT.to(dtype), saved[1], of_second_RT.to(dtype)),
            at::Tensor()};
  }
};

}  // namespace

RowProducts row_products(const at::Tensor& first_RTD, const at::Tensor& second_RTD) {
  TORCH_CHECK(first_RTD.dim() == 3 && first_RTD.is_floating_point() &&
                  first_RTD.sizes() == second_RTD.sizes() &&
                  first_RTD.scalar_type() == second_RTD.scalar_type() &&
                  first_RTD.device() == second_RTD.device(),
              "row_products: expected two floating-point tensors [streams, tokens, width] of one "
              "shape, dtype and device, got ",
              first_RTD.scalar_type(), " ", first_RTD.sizes(), " on ", first_RTD.device(), " and ",
              second_RTD.scalar_type(), " ", second_RTD.sizes(), " on ", second_RTD.device(), ".");
  const at::Tensor sums_RT4 =
      RowProductsFunction::apply(with_dense_rows(first_RTD), with_dense_rows(second_RTD.detach()));
  return {sums_RT4.select(2, 0), sums_RT4.select(2, 1), sums_RT4.select(2, 2),
          sums_RT4.select(2, 3)};
}

}  // namespace kvalign
