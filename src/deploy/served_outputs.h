// Projected streams as the outputs that a request asks for. Private to deploy/.
//
// Shapes:  R receiver streams   T tokens   D receiver width
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kvalign/serve/inference_service.h"
#include "served_model.h"

namespace kvalign {

/// Throws ServeRefusal 400 for an output that the model has not.
void check_outputs(const ServeRequest& request, const ServedModel& model);

/// Of a request that was checked: those it names, or all, in the model's order.
std::vector<ServedTensor> outputs_of(const ServeRequest& request, const ServedModel& model,
                                     const at::Tensor& streams_RTD);

}  // namespace kvalign
