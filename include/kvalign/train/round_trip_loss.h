// What a projector with a part that reads the receiver's cache is trained on besides its
// projection: the way back and round trips of bidirectional, the reconstruction of autoencoder.
// Each counts with the terms mse and cosine of the recipe's loss; the other terms need the
// receiver's answers.
//
// Shapes:  S sender streams   R receiver streams   T tokens   d, D widths
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"
#include "kvalign/loss/multi_task_loss.h"
#include "kvalign/projector/kv_projector.h"

namespace kvalign {

struct KVALIGN_API RoundTripOptions {
  double backward = 1.0;
  double reconstruction = 1.0;
  double cycle_sender = 0.0;
  double cycle_receiver = 0.0;

  /// The fields of a recipe's `round_trip` section.
  void describe(OptionVisitor& visitor);
};

/// A cache that came out, and the one that it should be.
struct RoundTrip {
  std::string name = {};  ///< opens the names of its terms: "backward_mse"
  double weight = 0;
  at::Tensor output = {}, target = {};  ///< [S, T, d] or [R, T, D]
};

class KVALIGN_API RoundTripLoss {
 public:
  /// Throws std::invalid_argument for a projector without such a part where a cycle has a weight,
  /// and for one with it where neither mse nor cosine has.
  RoundTripLoss(const KvProjector& projector, const RoundTripOptions& options,
                const LossOptions& loss);

  /// A batch's true caches, and what its senders' were projected to; differentiable. Empty for a
  /// projector without such a part.
  std::vector<RoundTrip> run(const KvProjector& projector, const at::Tensor& sender_STd,
                             const at::Tensor& receiver_RTD, const at::Tensor& predicted_RTD,
                             const at::Tensor& sequence_offsets) const;

  /// Adds the weighted losses to `loss` and their terms to its terms.
  void add_to(LossValue& loss, const std::vector<RoundTrip>& trips,
              const at::Tensor& sequence_offsets) const;

 private:
  RoundTripOptions options_;
  std::optional<MultiTaskLoss> loss_;  ///< none for a projector without such a part
};

}  // namespace kvalign
