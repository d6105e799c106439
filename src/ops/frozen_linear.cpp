// A few rows are multiplied as narrow_dot.h does. For more, panels of weight rows are turned into
// float32 that fit the last-level cache, and used at once. Either way the weights cross the
// memory bus in their stored size.
//
// Shapes: M rows of the input, F input width, D output width, P rows of a panel
#include "kvalign/ops/frozen_linear.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "narrow_dot.h"
#include "row_threads.h"

namespace kvalign {
namespace {

// 4 MiB of float32: stays in the last-level cache, and wide enough for an efficient product.
constexpr int64_t kPanelElements = 1 << 20;

int64_t rows_per_panel(const at::Tensor& weight_DF) {
  const int64_t for_cache = std::max<int64_t>(1, kPanelElements / weight_DF.size(1));
  const int64_t for_threads =
      (weight_DF.size(0) + at::get_num_threads() - 1) / at::get_num_threads();
  return std::max<int64_t>(1, std::min(for_cache, for_threads));
}

// [M, F] x [D, F] -> [M, D]; each thread converts and multiplies panels of its own.
at::Tensor multiply_panels(const at::Tensor& input_MF, const at::Tensor& weight_DF) {
  const int64_t num_outputs = weight_DF.size(0), panel = rows_per_panel(weight_DF);
  const int64_t num_panels = (num_outputs + panel - 1) / panel;
  at::Tensor output_MD = at::empty({input_MF.size(0), num_outputs}, input_MF.options());
  at::parallel_for(0, num_panels, 1, [&](int64_t first, int64_t last) {
    const at::NoGradGuard no_gradients;  // of this thread
    at::Tensor scratch_PF = at::empty({panel, weight_DF.size(1)}, input_MF.options());
    for (int64_t p = first; p < last; ++p) {
      const int64_t rows = std::min(panel, num_outputs - p * panel);
      at::Tensor panel_PF = scratch_PF.narrow(0, 0, rows);
      panel_PF.copy_(weight_DF.narrow(0, p * panel, rows));
      at::Tensor output_MP = output_MD.narrow(1, p * panel, rows);
      at::mm_out(output_MP, input_MF, panel_PF.t());
    }
  });
  return output_MD;
}

// [M, D] x [D, F] -> [M, F], the gradient of the input.
at::Tensor multiply_transposed_panels(const at::Tensor& gradient_MD, const at::Tensor& weight_DF) {
  const int64_t num_outputs = weight_DF.size(0), panel = rows_per_panel(weight_DF);
  at::Tensor result_MF = at::zeros({gradient_MD.size(0), weight_DF.size(1)}, gradient_MD.options());
  for (int64_t first = 0; first < num_outputs; first += panel) {
    const int64_t rows = std::min(panel, num_outputs - first);
    result_MF.addmm_(gradient_MD.narrow(1, first, rows),
                     weight_DF.narrow(0, first, rows).to(at::kFloat));
  }
  return result_MF;
}

at::Tensor multiply_frozen(const at::Tensor& input_MF, const at::Tensor& weight_DF) {
  const int64_t num_rows = input_MF.size(0);
  if (num_rows == 0 || num_rows > kMostRows || !weight_DF.is_contiguous()) {
    return multiply_panels(input_MF, weight_DF);
  }
  at::Tensor output_MD = at::empty({num_rows, weight_DF.size(0)}, input_MF.options());
  const int64_t grain = rows_worth_a_thread(weight_DF.size(1));
  at::parallel_for(0, weight_DF.size(0), grain, [&](int64_t first, int64_t last) {
    narrow_dot(input_MF, weight_DF, first, last, output_MD);
  });
  return output_MD;
}

// Keeps the stored weight for the backward pass, not its float32 copy.
struct FrozenLinearFunction : torch::autograd::Function<FrozenLinearFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input_MF,
                            const at::Tensor& weight_DF) {
    context->saved_data["weight"] = weight_DF;
    return multiply_frozen(input_MF.detach().contiguous(), weight_DF);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const at::Tensor weight_DF = context->saved_data["weight"].toTensor();
    return {multiply_transposed_panels(gradients[0], weight_DF), at::Tensor()};
  }
};

void check(const at::Tensor& input, const at::Tensor& weight_DF, const at::Tensor& bias_D) {
  const at::ScalarType dtype = weight_DF.scalar_type();
  TORCH_CHECK(
      weight_DF.dim() == 2 && (dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf),
      "frozen_linear: expected a weight [outputs, inputs] in float32, bfloat16 or float16, "
      "got ",
      dtype, " ", weight_DF.sizes(), ".");
  TORCH_CHECK(input.dim() >= 1 && input.scalar_type() == at::kFloat &&
                  input.size(-1) == weight_DF.size(1) && input.device() == weight_DF.device(),
              "frozen_linear: expected float32 input [.., ", weight_DF.size(1), "] on ",
              weight_DF.device(), ", got ", input.scalar_type(), " ", input.sizes(), " on ",
              input.device(), ".");
  TORCH_CHECK(!bias_D.defined() || (bias_D.scalar_type() == at::kFloat && bias_D.dim() == 1 &&
                                    bias_D.size(0) == weight_DF.size(0)),
              "frozen_linear: expected a float32 bias [", weight_DF.size(0), "], got ",
              bias_D.scalar_type(), " ", bias_D.sizes(), ".");
}

}  // namespace

at::Tensor frozen_linear(const at::Tensor& input, const at::Tensor& weight_DF,
                         const at::Tensor& bias_D) {
  check(input, weight_DF, bias_D);
  if (weight_DF.scalar_type() == at::kFloat) return at::linear(input, weight_DF, bias_D);
  if (!weight_DF.is_cpu()) {
    const at::Tensor output = at::linear(input.to(weight_DF.scalar_type()), weight_DF);
    return bias_D.defined() ? output.to(at::kFloat) + bias_D : output.to(at::kFloat);
  }
  const at::Tensor output_MD =
      FrozenLinearFunction::apply(input.reshape({-1, input.size(-1)}), weight_DF);
  std::vector<int64_t> shape = input.sizes().vec();
  shape.back() = weight_DF.size(0);
  const at::Tensor output = output_MD.view(shape);
  return bias_D.defined() ? output + bias_D : output;
}

}  // namespace kvalign
