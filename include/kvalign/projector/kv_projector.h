// A projector between two named caches: layer map, weights and both geometries in one object. This
// is what a checkpoint holds and what a user calls. It does not train and does not read files.
//
// Shapes:  S sender streams   R receiver streams   T tokens   d sender width   D receiver width
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "kvalign/core/kv_cache.h"
#include "kvalign/format/export.h"
#include "kvalign/format/geometry.h"
#include "kvalign/projector/feature_plan.h"
#include "kvalign/projector/projector.h"

namespace kvalign {

// The shape of a projector whose features `plan` gathers for `receiver`.
KVALIGN_API ProjectorShape projector_shape(const FeaturePlan& plan, const KvGeometry& receiver);

class KVALIGN_API KvProjector {
 public:
  // Builds the plan and a freshly initialised projector. Errors: c10::Error, as FeaturePlan and
  // make_projector; when truncate, pad or interpolate are given more than one sender stream, and
  // bidirectional a layer map top_k, which has no way back.
  KvProjector(const ProjectorOptions& options, KvGeometry sender, KvGeometry receiver);

  // [S, T, d] -> [R, T, D], differentiable. Errors: c10::Error, as FeaturePlan::gather.
  at::Tensor project(const at::Tensor& sender_STd) const;

  // The receiver's cache for a sender's cache: content keys in, content keys out, same positions,
  // same device; float32. Without gradients. Errors: c10::Error when the cache's geometry is not
  // the sender's, field by field, or its batch is not 1.
  KvCache project(const KvCache& sender_cache) const;

  // bidirectional alone: the receiver's cache to the sender's, [R, T, D] -> [S, T, d],
  // differentiable. Tokens of a sequence weigh each other: `sequence_offsets` as in
  // Projector::forward. Errors: c10::Error for another kind, and another shape.
  at::Tensor compress(const at::Tensor& receiver_RTD,
                      const at::Tensor& sequence_offsets = {}) const;

  // The same of a cache of batch 1, as project(); the sender can continue from it.
  KvCache compress(const KvCache& receiver_cache) const;

  // autoencoder alone: the receiver's cache through the latent to itself, [R, T, D],
  // differentiable. Errors: as compress().
  at::Tensor reconstruct(const at::Tensor& receiver_RTD) const;

  // What compress() and reconstruct() run, a submodule of projector(), and the plan of its
  // features. Null for other kinds.
  Projector* receiver_part() const { return receiver_part_.get(); }
  const FeaturePlan& receiver_plan() const { return *receiver_plan_; }

  // Bytes a token that cross the network in place of the sender's cache; 0 for a kind without a
  // latent, which reads the cache itself.
  int64_t latent_bytes() const;

  // The same projector with the first `rank` numbers of its latent alone. Errors: c10::Error for a
  // kind without a latent, and a rank that is not 1 .. options().rank.
  KvProjector with_rank(int64_t rank) const;

  const ProjectorOptions& options() const { return options_; }
  const KvGeometry& sender() const { return sender_; }
  const KvGeometry& receiver() const { return receiver_; }
  const FeaturePlan& plan() const { return plan_; }
  Projector& projector() const { return *projector_; }
  const std::shared_ptr<Projector>& shared_projector() const { return projector_; }

 private:
  ProjectorOptions options_;
  KvGeometry sender_;
  KvGeometry receiver_;
  FeaturePlan plan_;
  std::shared_ptr<Projector> projector_;
  std::optional<FeaturePlan> receiver_plan_;
  std::shared_ptr<Projector> receiver_part_;
};

}  // namespace kvalign
