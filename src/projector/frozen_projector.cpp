// Geometry checks and the layer map around a frozen kind; see the header for shapes.
#include "kvalign/projector/frozen_projector.h"

#include <ATen/ATen.h>

#include "cache_geometry.h"
#include "frozen_kind.h"
#include "kvalign/projector/kv_projector.h"

namespace kvalign {

FrozenProjector::FrozenProjector(const KvProjector& projector, at::ScalarType dtype, bool packs)
    : options_(projector.options()),
      sender_(projector.sender()),
      receiver_(projector.receiver()),
      plan_(projector.plan()) {
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16,
              "FrozenProjector: expected dtype float32 or bfloat16, got ", dtype);
  const at::NoGradGuard no_gradients;
  const std::vector<at::Tensor> parameters = projector.projector().parameters();
  if (!parameters.empty()) device_ = parameters.front().device();
  // A GPU waits while its host makes a view of every stream that is stacked.
  if (!device_.is_cpu()) plan_ = plan_.on(device_);
  kind_ = freeze(projector.shared_projector(), {.dtype = dtype, .packs = packs});
}

FrozenProjector::~FrozenProjector() = default;
FrozenProjector::FrozenProjector(FrozenProjector&&) noexcept = default;
FrozenProjector& FrozenProjector::operator=(FrozenProjector&&) noexcept = default;

at::Tensor FrozenProjector::project(const at::Tensor& sender_STd) const {
  const at::NoGradGuard no_gradients;
  return kind_->project(plan_.gather(sender_STd));
}

KvCache FrozenProjector::project(const KvCache& sender_cache) const {
  check_cache_geometry("FrozenProjector::project", sender_, sender_cache.geometry());
  return KvCache::from_streams(receiver_, project(sender_cache.streams()));
}

at::Tensor FrozenProjector::project_latent(const at::Tensor& latent_1Tk) const {
  const at::NoGradGuard no_gradients;
  return kind_->project_latent(latent_1Tk);
}

}  // namespace kvalign
