// Groups are found by comparing what neighbouring receiver streams read; see the header for shapes.
#include "kvalign/projector/feature_plan.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace kvalign {
namespace {

// The sender streams of every receiver stream of a layered pair: R lists.
std::vector<std::vector<int64_t>> streams_of_pair(const KvGeometry& sender,
                                                  const KvGeometry& receiver,
                                                  const LayerMapOptions& options) {
  TORCH_CHECK(options.features == "own" || options.features == "both",
              "layer_map: expected features own or both, got '", options.features, "'");
  const auto map = map_layers(options, sender.num_layers, receiver.num_layers);
  std::vector<std::vector<int64_t>> streams;
  for (const bool values : {false, true}) {
    for (const std::vector<int64_t>& layers : map) {
      std::vector<int64_t> reads;
      for (const bool reads_values : {false, true}) {
        if (options.features == "both" || reads_values == values) {
          for (const int64_t layer : layers) {
            reads.push_back(layer + (reads_values ? sender.num_layers : 0));
          }
        }
      }
      streams.push_back(std::move(reads));
    }
  }
  return streams;
}

// One group where all streams read the same, two where all keys do and all values do, else R.
std::vector<std::vector<int64_t>> group_equal(std::vector<std::vector<int64_t>> streams) {
  const size_t half = streams.size() / 2;
  const auto all_equal = [&](size_t begin, size_t end) {
    return std::all_of(streams.begin() + begin, streams.begin() + end,
                       [&](const auto& reads) { return reads == streams[begin]; });
  };
  if (all_equal(0, streams.size())) {
    return {streams.front()};
  }
  if (all_equal(0, half) && all_equal(half, streams.size())) {
    return {streams.front(), streams.back()};
  }
  return streams;
}

// Are they first, first + 1, first + 2, ...?
bool is_consecutive(const std::vector<int64_t>& numbers) {
  for (size_t i = 1; i < numbers.size(); ++i) {
    if (numbers[i] != numbers[0] + static_cast<int64_t>(i)) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool is_flat(const KvGeometry& geometry) {
  return geometry.num_layers == 1 && geometry.num_kv_heads == 1 && !geometry.rope.has_value();
}

int64_t num_streams(const KvGeometry& geometry) {
  return is_flat(geometry) ? 1 : 2 * geometry.num_layers;
}

FeaturePlan::FeaturePlan(const KvGeometry& sender, const KvGeometry& receiver,
                         const LayerMapOptions& options)
    : num_sender_streams_(kvalign::num_streams(sender)),
      num_receiver_streams_(kvalign::num_streams(receiver)),
      sender_width_(sender.width()) {
  TORCH_CHECK(is_flat(sender) == is_flat(receiver),
              "FeaturePlan: expected two flat caches or two caches with layers, got sender '",
              sender.model, "' with ", num_sender_streams_, " streams and receiver '",
              receiver.model, "' with ", num_receiver_streams_,
              ". Capture both in the same layout.");
  group_streams_ = is_flat(sender) ? std::vector<std::vector<int64_t>>{{0}}
                                   : group_equal(streams_of_pair(sender, receiver, options));
  for (const std::vector<int64_t>& streams : group_streams_) {
    all_streams_.insert(all_streams_.end(), streams.begin(), streams.end());
  }
  num_features_ = static_cast<int64_t>(group_streams_.front().size()) * sender_width_;
}

at::Tensor FeaturePlan::gather(const at::Tensor& sender_STd) const {
  TORCH_CHECK(sender_STd.dim() == 3 && sender_STd.size(0) == num_sender_streams_ &&
                  sender_STd.size(2) == sender_width_,
              "FeaturePlan::gather: expected a sender cache of shape [", num_sender_streams_,
              ", tokens, ", sender_width_, "], got ", sender_STd.sizes(),
              ". Was this cache captured from another model?");
  const int64_t count = static_cast<int64_t>(all_streams_.size());
  const at::Tensor chosen = choose_streams(sender_STd);
  if (count == num_groups()) {
    return chosen;
  }
  return chosen.view({num_groups(), count / num_groups(), sender_STd.size(1), sender_width_})
      .transpose(1, 2)
      .reshape({num_groups(), sender_STd.size(1), num_features_});
}

// Narrowing is free. Stacking copies, but unlike an index that is not there it sends nothing to a
// GPU.
at::Tensor FeaturePlan::choose_streams(const at::Tensor& sender_STd) const {
  const auto count = static_cast<int64_t>(all_streams_.size());
  if (is_consecutive(all_streams_)) {
    return count == sender_STd.size(0) ? sender_STd
                                       : sender_STd.narrow(0, all_streams_.front(), count);
  }
  if (stream_index_.defined() && stream_index_.device() == sender_STd.device()) {
    return sender_STd.index_select(0, stream_index_);
  }
  std::vector<at::Tensor> slices;
  for (const int64_t stream : all_streams_) slices.push_back(sender_STd.select(0, stream));
  return at::stack(slices);
}

FeaturePlan FeaturePlan::on(c10::Device device) const {
  FeaturePlan plan = *this;
  plan.stream_index_ = at::tensor(all_streams_, at::kLong).to(device);
  return plan;
}

}  // namespace kvalign
