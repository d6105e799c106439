// The nodes of each kind of projector. Private to deploy/.
//
// Shapes:  T tokens   G feature groups   F features   R streams   D width   r numbers of a latent
#pragma once

#include "kvalign/projector/kv_projector.h"
#include "onnx_builder.h"

namespace kvalign {

// Does project_nodes make FP8 numbers of their own? Operators know FP8 from opset 19 on.
bool has_fp8_nodes(const KvProjector& projector);

// [T, G, F] -> [T, R, D], as Projector::forward. The standardisation must be folded into the
// weights, as it is in checkpoints. Throws c10::Error for a kind that it does not know.
OnnxStreams project_nodes(OnnxBuilder& builder, const KvProjector& projector,
                          const OnnxStreams& features_TGF);

// [T, 1, r] -> [T, R, D], as Projector::project_latent; low_rank alone.
OnnxStreams project_latent_nodes(OnnxBuilder& builder, const KvProjector& projector,
                                 const OnnxStreams& latent_T1r);

}  // namespace kvalign
