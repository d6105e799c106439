// The cosine with a backward of its own: two passes over the cache instead of autograd's eight,
// since d(p.t / |p||t|) / dp = t / |p||t| - (p.t / |p|^3 |t|) p. The target gets no gradient.
#include "kvalign/loss/cosine_term.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace kvalign {
namespace {

constexpr double kSmallestNorm = 1e-8;  // F.cosine_similarity's eps

at::Tensor norm_RT(const at::Tensor& vectors_RTD) {
  return at::linalg_vector_norm(vectors_RTD, 2, at::IntArrayRef({-1}));
}

// Mean cosine of all streams and tokens.
class MeanCosine : public torch::autograd::Function<MeanCosine> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context,
                            const at::Tensor& predicted_RTD, const at::Tensor& target_RTD) {
    const at::Tensor predicted_norm_RT = norm_RT(predicted_RTD);
    const at::Tensor safe_norm_RT = predicted_norm_RT.clamp_min(kSmallestNorm);
    const at::Tensor inverse_RT =
        (safe_norm_RT * norm_RT(target_RTD).clamp_min(kSmallestNorm)).reciprocal_();
    const at::Tensor cosine_RT = (predicted_RTD * target_RTD).sum(-1).mul_(inverse_RT);
    // A norm that was held at the smallest value is a constant.
    const at::Tensor shrink_RT =
        (cosine_RT / safe_norm_RT.square()).masked_fill_(predicted_norm_RT <= kSmallestNorm, 0);
    context->save_for_backward({predicted_RTD, target_RTD, inverse_RT, shrink_RT});
    return cosine_RT.mean();
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& inverse_RT = saved[2];
    const at::Tensor weight = gradients[0] / static_cast<double>(inverse_RT.numel());
    at::Tensor gradient_RTD = saved[0] * (saved[3] * -weight).unsqueeze(-1);
    gradient_RTD.addcmul_(saved[1], (inverse_RT * weight).unsqueeze(-1));
    return {gradient_RTD, at::Tensor()};
  }
};

}  // namespace

std::string CosineTerm::name() const {
  return "cosine";
}

at::Tensor CosineTerm::compute(const LossInput& input) const {
  return 1 - MeanCosine::apply(input.predicted_RTD, input.target_RTD);
}

}  // namespace kvalign
