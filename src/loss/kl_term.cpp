// Two passes of the receiver over sequences of one length; the one after its own cache is a
// constant.
#include "kvalign/loss/kl_term.h"

#include <ATen/ATen.h>

#include <utility>

namespace kvalign {

KlTerm::KlTerm(std::shared_ptr<const ReceiverReading> reading) : reading_(std::move(reading)) {}

std::string KlTerm::name() const {
  return "kl";
}

at::Tensor KlTerm::compute(const LossInput& input) const {
  const int64_t num_sequences = input.sequence_offsets.size(0) - 1;
  at::Tensor sum;
  for (const ReceiverExample& example : reading_->examples(input)) {
    const auto log_probabilities = [&](const KvCache& cache) {
      return reading_->receiver()
          .forward({.token_ids_BT = example.consumed_BI,
                    .cache = cache,
                    .num_logits = example.num_predicted,
                    .with_cache = false})
          .logits_BTV.log_softmax(2);
    };
    at::Tensor true_BMV;
    {
      const at::NoGradGuard no_gradients;
      true_BMV = log_probabilities(example.true_cache);
    }
    const at::Tensor kl = (true_BMV.exp() * (true_BMV - log_probabilities(example.projected_cache)))
                              .sum(2)
                              .mean(1)
                              .sum();
    sum = sum.defined() ? sum + kl : kl;
  }
  return sum / static_cast<double>(num_sequences);
}

}  // namespace kvalign
