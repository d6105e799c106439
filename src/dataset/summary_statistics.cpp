// How the values of each stream are distributed.
//
// Shapes: T tokens of a sequence, d width of a stream
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "kvalign/dataset/summary.h"

namespace kvalign {
namespace {

constexpr int64_t kFirstTokens = 4;  // whose norms are compared with the rest, sinks or not

/// Sums over the sequences of one stream, in double.
struct Sums {
  double values = 0, absolute_maximum = 0, first_norms = 0, rest_norms = 0;
  int64_t num_values = 0, num_first = 0, num_rest = 0;
  at::Tensor squares_d;

  void add(const at::Tensor& cache_Td, int64_t num_sinks) {
    const at::Tensor norms_T = cache_Td.norm(2, 1);
    const int64_t num_tokens = cache_Td.size(0);
    const int64_t first = std::min(kFirstTokens, num_tokens);
    first_norms += norms_T.narrow(0, 0, first).sum(at::kDouble).item<double>();
    rest_norms += norms_T.narrow(0, first, num_tokens - first).sum(at::kDouble).item<double>();
    num_first += first;
    num_rest += num_tokens - first;
    if (num_tokens <= num_sinks) return;
    const at::Tensor kept_Td = cache_Td.narrow(0, num_sinks, num_tokens - num_sinks);
    values += kept_Td.sum(at::kDouble).item<double>();
    absolute_maximum = std::max(absolute_maximum, kept_Td.abs().max().item<double>());
    const at::Tensor squares = kept_Td.square().sum(0, false, at::kDouble);
    squares_d = squares_d.defined() ? squares_d + squares : squares;
    num_values += kept_Td.numel();
  }

  StreamStatistics finish(const std::string& name) const {
    StreamStatistics result{.name = name};
    if (num_values > 0) {
      const auto count = static_cast<double>(num_values);
      const double mean_square = squares_d.sum().item<double>() / count;
      const double largest =
          squares_d.max().item<double>() * static_cast<double>(squares_d.numel()) / count;
      result.mean = values / count;
      result.standard_deviation = std::sqrt(std::max(0.0, mean_square - result.mean * result.mean));
      result.absolute_maximum = absolute_maximum;
      if (mean_square > 0) result.largest_channel_ratio = std::sqrt(largest / mean_square);
    }
    if (num_rest > 0 && rest_norms > 0) {
      result.sink_norm_ratio = first_norms / static_cast<double>(num_first) /
                               (rest_norms / static_cast<double>(num_rest));
    }
    return result;
  }
};

}  // namespace

DatasetStatistics compute_statistics(const PairedDataset& dataset) {
  const DatasetIndex& index = dataset.index();
  DatasetStatistics result;
  const auto add_side = [&](const std::string& side, const std::vector<std::string>& streams) {
    const bool own_tokens = side == "sender" && dataset.has_alignment();
    const char* offsets_name = own_tokens ? "sender.sequence_offsets" : "sequence_offsets";
    for (const std::string& stream : streams) {
      const std::string name = side + "." + stream;
      Sums sums;
      for (size_t shard = 0; shard < index.shards.size(); ++shard) {
        const auto number = static_cast<int64_t>(shard);
        const at::Tensor stored = dataset.stored_tensor(number, name).flatten(1);
        const at::Tensor offsets = dataset.stored_tensor(number, offsets_name);
        const int64_t* offset = offsets.const_data_ptr<int64_t>();
        for (int64_t i = 0; i + 1 < offsets.size(0); ++i) {
          sums.add(stored.slice(0, offset[i], offset[i + 1]).to(at::kFloat), index.num_sinks);
        }
      }
      result.streams.push_back(sums.finish(name));
    }
  };
  add_side("sender", dataset.sender_stream_names());
  add_side("receiver", dataset.receiver_stream_names());
  for (int64_t sequence = 0; sequence < dataset.num_sequences(); ++sequence) {
    result.num_tokens += std::max<int64_t>(0, dataset.sequence_length(sequence) - index.num_sinks);
  }
  return result;
}

nlohmann::json to_json(const DatasetStatistics& statistics) {
  nlohmann::json streams = nlohmann::json::array();
  for (const StreamStatistics& stream : statistics.streams) {
    streams.push_back({{"name", stream.name},
                       {"mean", stream.mean},
                       {"standard_deviation", stream.standard_deviation},
                       {"absolute_maximum", stream.absolute_maximum},
                       {"largest_channel_ratio", stream.largest_channel_ratio},
                       {"sink_norm_ratio", stream.sink_norm_ratio}});
  }
  return {{"num_tokens", statistics.num_tokens}, {"streams", std::move(streams)}};
}

std::string to_text(const DatasetStatistics& statistics) {
  std::ostringstream text;
  text << std::left << std::setw(22) << "stream" << std::right << std::setw(12) << "mean"
       << std::setw(12) << "std dev" << std::setw(12) << "abs max" << std::setw(16)
       << "channel ratio" << std::setw(12) << "sink ratio"
       << "\n"
       << std::setprecision(4);
  for (const StreamStatistics& stream : statistics.streams) {
    text << std::left << std::setw(22) << stream.name << std::right << std::setw(12) << stream.mean
         << std::setw(12) << stream.standard_deviation << std::setw(12) << stream.absolute_maximum
         << std::setw(16) << stream.largest_channel_ratio << std::setw(12) << stream.sink_norm_ratio
         << "\n";
  }
  text << "over " << statistics.num_tokens << " tokens without sinks\n"
       << "channel ratio: rms of the largest channel / rms of all. sink ratio: mean norm of the "
          "first 4 tokens of a sequence / mean norm of the rest.\n";
  return text.str();
}

}  // namespace kvalign
