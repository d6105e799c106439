// What index.json and the headers say of a dataset.
#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "kvalign/core/safetensors.h"
#include "kvalign/dataset/summary.h"

namespace kvalign {
namespace {

std::string geometry_text(const DatasetSide& side) {
  const KvGeometry& geometry = side.geometry;
  std::ostringstream text;
  text << geometry.model << ": " << geometry.num_layers << " layers x " << geometry.num_kv_heads
       << " kv heads x " << geometry.head_dim;
  if (geometry.rope) {
    text << ", rope theta " << geometry.rope->theta << " "
         << (geometry.rope->pairing == RopePairing::kHalf ? "half" : "interleaved");
  }
  if (geometry.sliding_window > 0) text << ", sliding window " << geometry.sliding_window;
  return text.str();
}

}  // namespace

DatasetInspection inspect_dataset(const PairedDataset& dataset, const SplitOptions& split) {
  DatasetInspection result;
  result.index = dataset.index();
  result.sha256 = dataset.sha256();
  const DatasetIndex& index = result.index;
  std::set<std::string> dtypes;
  int64_t sender_bytes = 0, receiver_bytes = 0;
  for (size_t shard = 0; shard < index.shards.size(); ++shard) {
    result.file_bytes += static_cast<int64_t>(
        std::filesystem::file_size(dataset.folder() / index.shards[shard].file));
    const auto number = static_cast<int64_t>(shard);
    for (const std::string& stream : dataset.sender_stream_names()) {
      const at::Tensor stored = dataset.stored_tensor(number, "sender." + stream);
      dtypes.emplace(safetensors_dtype_name(stored.scalar_type()));
      sender_bytes += static_cast<int64_t>(stored.nbytes());
    }
    for (const std::string& stream : dataset.receiver_stream_names()) {
      receiver_bytes +=
          static_cast<int64_t>(dataset.stored_tensor(number, "receiver." + stream).nbytes());
    }
  }
  for (const std::string& dtype : dtypes) {
    result.dtype += (result.dtype.empty() ? "" : ",") + dtype;
  }
  result.receiver_bytes_per_token = receiver_bytes / index.num_tokens;
  result.has_token_ids = dataset.has_token_ids();
  result.has_alignment = dataset.has_alignment();

  std::set<int64_t> documents;
  result.shortest_sequence = result.longest_sequence = dataset.sequence_length(0);
  for (int64_t sequence = 0; sequence < dataset.num_sequences(); ++sequence) {
    documents.insert(dataset.document(sequence));
    result.num_sender_tokens += dataset.sender_length(sequence);
    const int64_t length = dataset.sequence_length(sequence);
    result.shortest_sequence = std::min(result.shortest_sequence, length);
    result.longest_sequence = std::max(result.longest_sequence, length);
    if (const std::optional<int64_t> label = dataset.label(sequence)) ++result.label_counts[*label];
  }
  result.sender_bytes_per_token = sender_bytes / result.num_sender_tokens;
  result.num_documents = static_cast<int64_t>(documents.size());
  result.split = split_by_sequence(dataset, split);
  return result;
}

nlohmann::json to_json(const DatasetInspection& inspection) {
  nlohmann::json labels = nlohmann::json::object();
  for (const auto& [label, count] : inspection.label_counts) labels[std::to_string(label)] = count;
  const Split& split = inspection.split;
  return {{"index", to_json(inspection.index)},
          {"sha256", inspection.sha256},
          {"dtype", inspection.dtype},
          {"num_documents", inspection.num_documents},
          {"shortest_sequence_tokens", inspection.shortest_sequence},
          {"longest_sequence_tokens", inspection.longest_sequence},
          {"file_bytes", inspection.file_bytes},
          {"sender_bytes_per_token", inspection.sender_bytes_per_token},
          {"receiver_bytes_per_token", inspection.receiver_bytes_per_token},
          {"has_token_ids", inspection.has_token_ids},
          {"has_alignment", inspection.has_alignment},
          {"num_sender_tokens", inspection.num_sender_tokens},
          {"label_counts", labels},
          {"split",
           {{"train", split.train.size()},
            {"validation", split.validation.size()},
            {"test", split.test.size()},
            {"sha256", split.sha256}}}};
}

std::string to_text(const DatasetInspection& inspection) {
  const DatasetIndex& index = inspection.index;
  std::ostringstream text;
  text << "sender      " << geometry_text(index.sender) << "\n"
       << "receiver    " << geometry_text(index.receiver) << "\n"
       << "made by     " << index.created_by << "\n"
       << "sequences   " << index.num_sequences << " of " << inspection.shortest_sequence << " to "
       << inspection.longest_sequence << " tokens, " << index.num_tokens << " tokens, "
       << inspection.num_documents << " documents, " << index.num_sinks << " sinks each\n";
  if (inspection.has_alignment) {
    text << "aligned     " << inspection.num_sender_tokens << " sender tokens of its tokenizer\n";
  }
  text << "stored      " << inspection.dtype << ", " << inspection.sender_bytes_per_token << " + "
       << inspection.receiver_bytes_per_token << " bytes a token, " << inspection.file_bytes
       << " bytes in " << index.shards.size() << " shards\n"
       << "labels      ";
  for (const auto& [label, count] : inspection.label_counts) {
    text << "class " << label << ": " << count << "  ";
  }
  text << (inspection.label_counts.empty() ? "none" : "") << "\n"
       << "split       " << inspection.split.train.size() << " training, "
       << inspection.split.validation.size() << " validation, " << inspection.split.test.size()
       << " test sequences, sha256 " << inspection.split.sha256.substr(0, 12) << "\n"
       << "dataset     sha256 " << inspection.sha256 << "\n";
  return text.str();
}

}  // namespace kvalign
