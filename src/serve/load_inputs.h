// What the queries of a load bring: random tensors in the shapes of the model's metadata, or
// packets from files. Never zeros, which hide what caches, branches and quantisation cost. Private
// to serve/.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kvalign/serve/inference_service.h"
#include "kvalign/serve/load_options.h"

namespace kvalign {

struct LoadInput {
  std::vector<ServedTensor> tensors = {};
  std::string packet = {};  ///< where packets are sent; `tensors` then is this as a tensor
  int64_t tokens = 0;
};

class LoadInputs {
 public:
  /// `metadata`: of the model. Features are normal with variance 1; codes are such features divided
  /// by a scale for each of the model's scales, so that the largest is FP8 E4M3FN's largest. Throws
  /// std::runtime_error, naming the input, where the model has not what `options` asks for, and
  /// naming the file for one that is no packet.
  LoadInputs(const LoadOptions& options, const nlohmann::json& metadata);

  /// The same for the same number, seed and metadata.
  const LoadInput& of(int64_t number) const {
    return pool_[choices_[static_cast<size_t>(number) % choices_.size()]];
  }

 private:
  std::vector<LoadInput> pool_;
  std::vector<size_t> choices_;  // of each query, from pool_
};

}  // namespace kvalign
