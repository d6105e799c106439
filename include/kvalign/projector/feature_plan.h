// From the streams of a sender's cache to the features that a projector reads. Receiver streams
// that read the same features form one group, so that shared features are held once. No parameters.
//
// Stream order: keys of layer 0 .. L-1, then values of layer 0 .. L-1. A flat cache has one stream.
// Shapes:  S sender streams   R receiver streams   T tokens   d sender width   D receiver width
//          G feature groups (divides R; group g feeds streams g R/G .. (g+1) R/G - 1)
//          F features = sender streams of a group * d
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <vector>

#include "kvalign/format/export.h"
#include "kvalign/format/geometry.h"
#include "kvalign/projector/layer_map.h"

namespace kvalign {

// A flat cache, [tokens, d] without layers, is written as one layer, one head and no rope.
KVALIGN_API bool is_flat(const KvGeometry& geometry);

// 1 for a flat cache, else 2 * num_layers.
KVALIGN_API int64_t num_streams(const KvGeometry& geometry);

class KVALIGN_API FeaturePlan {
 public:
  // Errors: c10::Error when one geometry is flat and the other is not, and those of map_layers().
  // The layer map of a flat pair has no say: one stream feeds one stream.
  FeaturePlan(const KvGeometry& sender, const KvGeometry& receiver, const LayerMapOptions& options);

  int64_t num_groups() const { return static_cast<int64_t>(group_streams_.size()); }
  int64_t num_features() const { return num_features_; }
  int64_t num_streams() const { return num_receiver_streams_; }
  int64_t num_sender_streams() const { return num_sender_streams_; }

  // The sender streams of each group, in the order of its features; all groups have equally many.
  const std::vector<std::vector<int64_t>>& group_streams() const { return group_streams_; }

  // [S, T, d] -> [G, T, F], any dtype and device. A view of the input where one suffices (one
  // stream a group, in the sender's order), a copy elsewhere.
  // Errors: c10::Error when S or d are not those of the sender.
  at::Tensor gather(const at::Tensor& sender_STd) const;

  // The same plan, which chooses the streams of a cache on `device` by one operation; on other
  // devices it does as before.
  FeaturePlan on(c10::Device device) const;

 private:
  at::Tensor choose_streams(const at::Tensor& sender_STd) const;

  std::vector<std::vector<int64_t>> group_streams_;
  std::vector<int64_t> all_streams_;  // group_streams_, one after the other
  at::Tensor stream_index_;           // all_streams_ on one device, or none
  int64_t num_sender_streams_ = 0;
  int64_t num_receiver_streams_ = 0;
  int64_t sender_width_ = 0;
  int64_t num_features_ = 0;
};

}  // namespace kvalign
