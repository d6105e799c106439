// See served_outputs.h.
#include "served_outputs.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "served_tensors.h"

namespace kvalign {
namespace {

std::vector<std::string> output_names(const ServedModel& model) {
  if (is_flat(model.projector->receiver())) return {"cache"};
  return {"keys", "values"};
}

}  // namespace

void check_outputs(const ServeRequest& request, const ServedModel& model) {
  const std::vector<std::string> known = output_names(model);
  for (const std::string& name : request.outputs) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    refuse_request(request, "expected outputs " +
                                (known.size() == 1 ? known[0] : known[0] + " and " + known[1]) +
                                ", got \"" + name + "\"");
  }
}

std::vector<ServedTensor> outputs_of(const ServeRequest& request, const ServedModel& model,
                                     const at::Tensor& streams_RTD) {
  const KvGeometry& geometry = model.projector->receiver();
  std::vector<ServedTensor> outputs;
  for (const std::string& name : request.outputs.empty() ? output_names(model) : request.outputs) {
    if (name == "cache") {
      outputs.push_back(to_served(name, streams_RTD[0]));
      continue;
    }
    const int64_t first = name == "keys" ? 0 : geometry.num_layers;
    outputs.push_back(to_served(name, streams_RTD.narrow(0, first, geometry.num_layers)
                                          .unflatten(2, {geometry.num_kv_heads, geometry.head_dim})
                                          .transpose(1, 2)));
  }
  return outputs;
}

}  // namespace kvalign
