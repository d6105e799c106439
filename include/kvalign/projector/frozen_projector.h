// A projector that only runs: what a server, a receiver and an evaluation project with. Its weights
// are its own, with statistics and centring multiplied in and laid out for one matrix product for
// all streams that share features; it has no gradients, no parameters and no modules.
//
// Shapes:  S sender streams   R receiver streams   T tokens   d sender width   D receiver width
//          k numbers of a latent
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <memory>

#include "kvalign/core/kv_cache.h"
#include "kvalign/format/export.h"
#include "kvalign/format/geometry.h"
#include "kvalign/projector/feature_plan.h"
#include "kvalign/projector/projector_options.h"

namespace kvalign {

class FrozenKind;
class KvProjector;

class KVALIGN_API FrozenProjector {
 public:
  /// From `projector`, on its device, which is not changed and, for the kinds linear_residual, mlp,
  /// residual_mlp and low_rank, need not be kept. Other kinds have no layout of their own: they run
  /// the projector's module, which must stay as it is. `dtype`: float32, or bfloat16, in which then
  /// weights are stored and outputs given; a CPU multiplies in float32 either way. `packs`: a CPU's
  /// float32 weights are laid out by oneDNN where that is faster; the last bits of a token's
  /// outputs then depend on how many tokens it comes with. Throws c10::Error for another dtype.
  explicit FrozenProjector(const KvProjector& projector, at::ScalarType dtype = at::kFloat,
                           bool packs = true);
  ~FrozenProjector();
  FrozenProjector(FrozenProjector&&) noexcept;
  FrozenProjector& operator=(FrozenProjector&&) noexcept;

  /// [S, T, d], any floating dtype -> [R, T, D] of `dtype`, as KvProjector::project; T may be 0.
  /// The rows of D numbers are contiguous; they lie token by token where streams share features.
  /// Throws c10::Error as FeaturePlan::gather.
  at::Tensor project(const at::Tensor& sender_STd) const;

  /// The receiver's cache, views of one such tensor, as KvProjector::project. Throws c10::Error as
  /// that.
  KvCache project(const KvCache& sender_cache) const;

  /// low_rank: [1, T, k], a latent that arrived, any floating dtype -> [R, T, D]; numbers beyond
  /// the first k are 0. Throws c10::Error for another kind, and another shape.
  at::Tensor project_latent(const at::Tensor& latent_1Tk) const;

  /// Those of the projector.
  const ProjectorOptions& options() const { return options_; }
  const KvGeometry& sender() const { return sender_; }
  const KvGeometry& receiver() const { return receiver_; }
  const FeaturePlan& plan() const { return plan_; }

  /// Where its weights are, and what it reads has to be. A baseline has none and runs anywhere:
  /// CPU.
  c10::Device device() const { return device_; }

 private:
  ProjectorOptions options_;
  KvGeometry sender_, receiver_;
  FeaturePlan plan_;
  c10::Device device_ = c10::kCPU;
  std::unique_ptr<const FrozenKind> kind_;
};

}  // namespace kvalign
