// Geometry checks around a plan and a projector; see the header for shapes.
#include "kvalign/projector/kv_projector.h"

#include <ATen/ATen.h>

#include <string>
#include <utility>

#include "cache_geometry.h"

namespace kvalign {
namespace {

// truncate, pad and interpolate say nothing about several streams in a row.
void check_baseline_reads_one_stream(const ProjectorOptions& options, const FeaturePlan& plan,
                                     const KvGeometry& sender) {
  const bool resizes =
      options.kind == "truncate" || options.kind == "pad" || options.kind == "interpolate";
  TORCH_CHECK(!resizes || (plan.num_features() == sender.width() &&
                           plan.num_groups() == plan.num_streams()),
              "KvProjector: kind ", options.kind,
              " expects one sender stream for each receiver stream, got layer map '",
              options.layer_map.kind, "' with features '", options.layer_map.features,
              "'. Use nearest_depth with own features.");
}

// What the part that reads the receiver's cache reads of it; none for kinds without one.
std::optional<FeaturePlan> plan_receiver_part(const ProjectorOptions& options,
                                              const KvGeometry& sender,
                                              const KvGeometry& receiver) {
  if (options.kind == "autoencoder") {
    return FeaturePlan(receiver, receiver, {.kind = "all", .features = "both"});
  }
  if (options.kind != "bidirectional") return std::nullopt;
  TORCH_CHECK(options.layer_map.kind != "top_k",
              "KvProjector: layer map top_k names the sender's layers and says nothing of the way "
              "back, which kind bidirectional needs. Use nearest_depth, last_aligned or all.");
  return FeaturePlan(receiver, sender, options.layer_map);
}

}  // namespace

ProjectorShape projector_shape(const FeaturePlan& plan, const KvGeometry& receiver) {
  return {.num_groups = plan.num_groups(),
          .num_features = plan.num_features(),
          .num_streams = plan.num_streams(),
          .width = receiver.width()};
}

KvProjector::KvProjector(const ProjectorOptions& options, KvGeometry sender, KvGeometry receiver)
    : options_(options),
      sender_(std::move(sender)),
      receiver_(std::move(receiver)),
      plan_(sender_, receiver_, options.layer_map) {
  check_baseline_reads_one_stream(options_, plan_, sender_);
  projector_ = make_projector(options_, projector_shape(plan_, receiver_));
  receiver_plan_ = plan_receiver_part(options_, sender_, receiver_);
  if (receiver_plan_) {
    const KvGeometry& written = options_.kind == "autoencoder" ? receiver_ : sender_;
    receiver_part_ = projector_->add_receiver_part(projector_shape(*receiver_plan_, written));
  }
}

at::Tensor KvProjector::project(const at::Tensor& sender_STd) const {
  return projector_->forward(plan_.gather(sender_STd));
}

int64_t KvProjector::latent_bytes() const {
  if (options_.kind != "low_rank") return 0;
  const std::string& wire = options_.latent_wire;
  return options_.rank * (wire == "float32" ? 4 : wire == "float16" ? 2 : 1);
}

KvProjector KvProjector::with_rank(int64_t rank) const {
  TORCH_CHECK(options_.kind == "low_rank", "KvProjector::with_rank: expected kind low_rank, got ",
              options_.kind, ", which has no latent");
  TORCH_CHECK(rank >= 1 && rank <= options_.rank, "KvProjector::with_rank: expected 1 .. ",
              options_.rank, ", got ", rank);
  ProjectorOptions options = options_;
  options.rank = rank;
  KvProjector smaller(options, sender_, receiver_);
  const at::NoGradGuard no_gradients;
  const auto whole = projector_->named_parameters();
  for (auto& item : smaller.projector().named_parameters()) {
    const at::Tensor& from = whole[item.key()];
    // The latent is the rows of the encoder and the columns of the decoder's weight.
    if (item.key() == "encoder.weight" || item.key() == "encoder.bias") {
      item.value().copy_(from.narrow(1, 0, rank));
    } else {
      item.value().copy_(item.key() == "decoder.weight" ? from.narrow(2, 0, rank) : from);
    }
  }
  return smaller;
}

KvCache KvProjector::project(const KvCache& sender_cache) const {
  check_cache_geometry("KvProjector::project", sender_, sender_cache.geometry());
  const at::NoGradGuard no_gradients;
  const at::Tensor streams_STd = sender_cache.streams().to(at::kFloat);
  return KvCache::from_streams(receiver_, project(streams_STd).contiguous());
}

at::Tensor KvProjector::compress(const at::Tensor& receiver_RTD,
                                 const at::Tensor& sequence_offsets) const {
  TORCH_CHECK(options_.kind == "bidirectional",
              "KvProjector::compress: expected kind bidirectional, got ", options_.kind,
              ", which has no way back");
  return receiver_part_->forward(receiver_plan_->gather(receiver_RTD), sequence_offsets);
}

KvCache KvProjector::compress(const KvCache& receiver_cache) const {
  check_cache_geometry("KvProjector::compress", receiver_, receiver_cache.geometry());
  const at::NoGradGuard no_gradients;
  const at::Tensor streams_RTD = receiver_cache.streams().to(at::kFloat);
  return KvCache::from_streams(sender_, compress(streams_RTD).contiguous());
}

at::Tensor KvProjector::reconstruct(const at::Tensor& receiver_RTD) const {
  TORCH_CHECK(options_.kind == "autoencoder",
              "KvProjector::reconstruct: expected kind autoencoder, got ", options_.kind,
              ", which has no encoder of the receiver's cache");
  return receiver_part_->forward(receiver_plan_->gather(receiver_RTD));
}

}  // namespace kvalign
