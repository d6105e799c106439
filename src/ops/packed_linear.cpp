// LibTorch has these operators for torch.compile, without a function in C++: they are called by
// name. See the header for shapes.
#include "kvalign/ops/packed_linear.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/jit_type.h>

#include <optional>

namespace kvalign {
namespace {

// A hint alone. Of those for 32 and for 512 rows, and of exact ones, this was the fastest or equal
// to it for 1 to 2,048 rows of 64 to 6,144 features (AVX2).
constexpr int64_t kHintedRows = 32;

std::optional<c10::OperatorHandle> find_operator(const char* name) {
  return c10::Dispatcher::singleton().findSchema({name, ""});
}

at::Tensor call(const c10::OperatorHandle& handle, std::vector<c10::IValue> arguments) {
  handle.callBoxed(&arguments);
  return arguments.at(0).toTensor();
}

const std::optional<c10::OperatorHandle>& pack_operator() {
  static const auto found = find_operator("mkldnn::_reorder_linear_weight");
  return found;
}

const std::optional<c10::OperatorHandle>& linear_operator() {
  static const auto found = find_operator("mkldnn::_linear_pointwise");
  return found;
}

}  // namespace

bool PackedLinear::is_available() {
#ifdef __x86_64__
  return at::globalContext().hasMKLDNN() && pack_operator() && linear_operator();
#else
  return false;
#endif
}

PackedLinear::PackedLinear(const at::Tensor& weight_OF, const at::Tensor& bias_O) {
  TORCH_CHECK(is_available(), "PackedLinear: this LibTorch has no oneDNN");
  TORCH_CHECK(weight_OF.dim() == 2 && weight_OF.scalar_type() == at::kFloat && weight_OF.is_cpu() &&
                  weight_OF.numel() > 0,
              "PackedLinear: expected float32 weights [outputs, features] on the CPU, got ",
              weight_OF.scalar_type(), " ", weight_OF.sizes(), " on ", weight_OF.device());
  num_outputs_ = weight_OF.size(0);
  num_features_ = weight_OF.size(1);
  TORCH_CHECK(!bias_O.defined() || (bias_O.scalar_type() == at::kFloat && bias_O.is_cpu() &&
                                    bias_O.sizes() == at::IntArrayRef({num_outputs_})),
              "PackedLinear: expected a float32 bias [", num_outputs_, "] on the CPU or none, got ",
              bias_O.scalar_type(), " ", bias_O.sizes(), " on ", bias_O.device());
  packed_ = call(*pack_operator(), {weight_OF.contiguous(), kHintedRows});
  if (bias_O.defined()) bias_O_ = bias_O.clone();
}

at::Tensor PackedLinear::run(const at::Tensor& features_TF) const {
  TORCH_CHECK(features_TF.dim() == 2 && features_TF.scalar_type() == at::kFloat &&
                  features_TF.is_cpu() && features_TF.size(1) == num_features_,
              "PackedLinear::run: expected float32 [rows, ", num_features_, "] on the CPU, got ",
              features_TF.scalar_type(), " ", features_TF.sizes(), " on ", features_TF.device());
  if (features_TF.size(0) == 0) return at::empty({0, num_outputs_}, features_TF.options());
  const c10::impl::GenericList no_scalars(c10::OptionalType::create(c10::NumberType::get()));
  return call(*linear_operator(), {features_TF.contiguous(), packed_,
                                   bias_O_.defined() ? c10::IValue(bias_O_) : c10::IValue(), "none",
                                   no_scalars, c10::IValue()});
}

}  // namespace kvalign
