// What a loaded decoder is made of; shared by passes and sessions.
#pragma once

#include <filesystem>
#include <vector>

#include "decoder_weights.h"
#include "kvalign/core/kv_cache.h"
#include "kvalign/model/decoder.h"

namespace kvalign {

struct Decoder::State {
  std::filesystem::path folder;
  DecoderConfig config;
  DecoderWeights weights;
  c10::Device device;
};

// Errors: c10::Error for a cache of another geometry (names aside), batch or device.
void check_cache(const KvCache& cache, const KvGeometry& geometry, int64_t batch,
                 c10::Device device);

// A layer's each, [B, N, T, H] float32.
std::vector<at::Tensor> keys_in_float(const KvCache& cache);

}  // namespace kvalign
