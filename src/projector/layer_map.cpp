// Layer numbers in, layer numbers out; see the header for the formulas.
#include "kvalign/projector/layer_map.h"

#include <c10/util/Exception.h>

#include <algorithm>

#include "kvalign/core/options.h"

namespace kvalign {
namespace {

std::vector<int64_t> range(int64_t count) {
  std::vector<int64_t> numbers(count);
  for (int64_t i = 0; i < count; ++i) {
    numbers[i] = i;
  }
  return numbers;
}

// round(l (Ls - 1) / (Lr - 1)) in integers, so that halves go up on every machine. A receiver of
// one layer reads the last sender layer: both feed their model's output.
int64_t nearest_depth(int64_t layer, int64_t num_sender_layers, int64_t num_receiver_layers) {
  if (num_receiver_layers == 1) {
    return num_sender_layers - 1;
  }
  const int64_t numerator = layer * (num_sender_layers - 1);
  const int64_t denominator = num_receiver_layers - 1;
  return (2 * numerator + denominator) / (2 * denominator);
}

std::vector<std::vector<int64_t>> divide_given_list(const std::vector<int64_t>& layers,
                                                    int64_t num_sender_layers,
                                                    int64_t num_receiver_layers) {
  const auto count = static_cast<int64_t>(layers.size());
  TORCH_CHECK(count > 0 && count % num_receiver_layers == 0,
              "layer_map: expected layers to list k sender layers for each of ",
              num_receiver_layers, " receiver layers, got ", count, " numbers. Give a multiple of ",
              num_receiver_layers, ".");
  for (int64_t i = 0; i < count; ++i) {
    TORCH_CHECK(layers[i] >= 0 && layers[i] < num_sender_layers, "layer_map: expected layers[", i,
                "] to be a sender layer 0 .. ", num_sender_layers - 1, ", got ", layers[i]);
  }
  const int64_t per_layer = count / num_receiver_layers;
  std::vector<std::vector<int64_t>> map;
  for (int64_t first = 0; first < count; first += per_layer) {
    map.emplace_back(layers.begin() + first, layers.begin() + first + per_layer);
  }
  return map;
}

}  // namespace

void LayerMapOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "kind",
                 .help = "which sender layers feed a receiver layer: the one at the same relative "
                         "depth, the one as far from the last layer, a given list, or all",
                 .one_of = {"nearest_depth", "last_aligned", "top_k", "all"}},
                kind);
  visitor.field({.name = "layers",
                 .help = "top_k only: sender layers of receiver layer 0, then of layer 1, ...; "
                         "equally many for each",
                 .minimum = 0},
                layers);
  visitor.field({.name = "features",
                 .help = "own: keys from keys and values from values; both: each from both",
                 .one_of = {"own", "both"}},
                features);
}

std::vector<std::vector<int64_t>> map_layers(const LayerMapOptions& options,
                                             int64_t num_sender_layers,
                                             int64_t num_receiver_layers) {
  if (options.kind == "top_k") {
    return divide_given_list(options.layers, num_sender_layers, num_receiver_layers);
  }
  TORCH_CHECK(options.layers.empty(), "layer_map: layers belong to kind top_k, got ",
              options.layers.size(), " numbers with kind ", options.kind,
              ". Remove layers or set kind: top_k.");
  std::vector<std::vector<int64_t>> map;
  for (int64_t layer = 0; layer < num_receiver_layers; ++layer) {
    if (options.kind == "nearest_depth") {
      map.push_back({nearest_depth(layer, num_sender_layers, num_receiver_layers)});
    } else if (options.kind == "last_aligned") {
      map.push_back({std::max<int64_t>(0, num_sender_layers - num_receiver_layers + layer)});
    } else {
      TORCH_CHECK(options.kind == "all",
                  "layer_map: expected kind nearest_depth, last_aligned, top_k or all, got '",
                  options.kind, "'");
      map.push_back(range(num_sender_layers));
    }
  }
  return map;
}

}  // namespace kvalign
