// Gathers sequences into shards and writes them.
//
// Shapes: S sender streams, R receiver streams, T tokens of a sequence, d sender width, D receiver
// width
#include "kvalign/dataset/paired_writer.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvalign/core/files.h"
#include "kvalign/core/geometry_json.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/core/sha256.h"

namespace kvalign {
namespace {

int64_t count_shards(const PairedWriterOptions& options) {
  return (options.num_sequences + options.sequences_per_shard - 1) / options.sequences_per_shard;
}

void check_streams(const at::Tensor& streams, const char* side, const KvGeometry& geometry,
                   int64_t num_streams, int64_t num_tokens) {
  TORCH_CHECK(streams.defined() && streams.dim() == 3 && streams.is_floating_point() &&
                  streams.is_cpu() && streams.size(0) == num_streams &&
                  streams.size(1) == num_tokens && streams.size(2) == geometry.width(),
              "PairedDatasetWriter::add: expected ", side, " streams [", num_streams, ", ",
              num_tokens, ", ", geometry.width(), "] of ", geometry.model, " on the CPU, got ",
              streams.defined() ? streams.toString() : std::string("nothing"), " ",
              streams.defined() ? streams.sizes() : at::IntArrayRef(), ".");
}

at::Tensor as_stored(const at::Tensor& streams, const char* side, at::ScalarType dtype,
                     int64_t sequence) {
  at::Tensor stored = streams.to(dtype).contiguous();
  TORCH_CHECK(at::isfinite(stored).all().item<bool>(), "PairedDatasetWriter::add: sequence ",
              sequence, ": a ", side, " value is not finite as ", safetensors_dtype_name(dtype),
              ". Write bfloat16 or float32 if float16's 65504 is exceeded.");
  return stored;
}

template <class Value>
at::Tensor as_tensor(const std::vector<Value>& values) {
  return at::tensor(at::ArrayRef<Value>(values), c10::CppTypeToScalarType<Value>::value);
}

}  // namespace

PairedDatasetWriter::PairedDatasetWriter(std::filesystem::path folder, DatasetIndex header,
                                         const PairedWriterOptions& options)
    : folder_(std::move(folder)), index_(std::move(header)), options_(options) {
  const std::string where = "PairedDatasetWriter: " + folder_.string() + ": ";
  if (options.num_sequences < 1 || options.sequences_per_shard < 1) {
    throw std::invalid_argument(where + "expected at least 1 sequence and 1 a shard, got " +
                                std::to_string(options.num_sequences) + " and " +
                                std::to_string(options.sequences_per_shard) + ".");
  }
  if (options.dtype != at::kHalf && options.dtype != at::kBFloat16 && options.dtype != at::kFloat) {
    throw std::invalid_argument(where + "expected float16, bfloat16 or float32, got " +
                                c10::toString(options.dtype) + ".");
  }
  check_geometry(index_.sender.geometry, where + "sender");
  check_geometry(index_.receiver.geometry, where + "receiver");
  if (std::filesystem::exists(folder_ / "index.json")) {
    throw std::invalid_argument(where + "holds a dataset already. Give an empty folder.");
  }
  std::filesystem::create_directories(folder_);
  index_.num_sequences = index_.num_tokens = 0;
  index_.shards.clear();
}

void PairedDatasetWriter::check(const PairedSequence& sequence) const {
  TORCH_CHECK(num_added_ < options_.num_sequences, "PairedDatasetWriter::add: ", folder_.string(),
              ": expected ", options_.num_sequences, " sequences, got one more.");
  const auto count_streams = [&](const KvGeometry& geometry) {
    return static_cast<int64_t>(stream_names(index_.layout, geometry).size());
  };
  const KvGeometry& sender = index_.sender.geometry;
  const KvGeometry& receiver = index_.receiver.geometry;
  const int64_t num_tokens = sequence.sender_STd.defined() && sequence.sender_STd.dim() == 3
                                 ? sequence.sender_STd.size(1)
                                 : 0;
  check_streams(sequence.sender_STd, "sender", sender, count_streams(sender), num_tokens);
  check_streams(sequence.receiver_RTD, "receiver", receiver, count_streams(receiver), num_tokens);
  TORCH_CHECK(num_tokens > 0, "PairedDatasetWriter::add: expected at least 1 token, got none.");
  TORCH_CHECK(!sequence.token_ids.defined() || (sequence.token_ids.scalar_type() == at::kInt &&
                                                sequence.token_ids.sizes() == num_tokens),
              "PairedDatasetWriter::add: expected int32 token_ids [", num_tokens, "], got ",
              sequence.token_ids.toString(), " ", sequence.token_ids.sizes(), ".");
  TORCH_CHECK(sequence.token_ids.defined() || index_.layout == DatasetLayout::kFlat,
              "PairedDatasetWriter::add: expected token_ids, which only a flat dataset may lack.");
}

void PairedDatasetWriter::add(const PairedSequence& sequence) {
  check(sequence);
  PairedSequence stored = sequence;
  stored.sender_STd = as_stored(sequence.sender_STd, "sender", options_.dtype, num_added_);
  stored.receiver_RTD = as_stored(sequence.receiver_RTD, "receiver", options_.dtype, num_added_);
  if (num_added_ == 0) {
    has_token_ids_ = sequence.token_ids.defined();
    has_labels_ = sequence.label.has_value();
    has_documents_ = sequence.document.has_value();
  }
  TORCH_CHECK(has_token_ids_ == sequence.token_ids.defined() &&
                  has_labels_ == sequence.label.has_value() &&
                  has_documents_ == sequence.document.has_value(),
              "PairedDatasetWriter::add: sequence ", num_added_,
              ": token_ids, label and document must be given for all sequences or for none.");
  pending_.push_back(std::move(stored));
  ++num_added_;
  if (static_cast<int64_t>(pending_.size()) == options_.sequences_per_shard) write_shard();
}

void PairedDatasetWriter::write_shard() {
  std::vector<NamedTensor> tensors;
  const auto add_side = [&](const std::string& side, const KvGeometry& geometry,
                            at::Tensor PairedSequence::*member) {
    const std::vector<std::string> names = stream_names(index_.layout, geometry);
    for (size_t stream = 0; stream < names.size(); ++stream) {
      std::vector<at::Tensor> parts;
      for (const PairedSequence& sequence : pending_) {
        parts.push_back((sequence.*member).select(0, static_cast<int64_t>(stream)));
      }
      at::Tensor packed = at::cat(parts);
      if (index_.layout == DatasetLayout::kLayers) {
        packed = packed.view({-1, geometry.num_kv_heads, geometry.head_dim});
      }
      tensors.push_back({side + "." + names[stream], std::move(packed)});
    }
  };
  add_side("sender", index_.sender.geometry, &PairedSequence::sender_STd);
  add_side("receiver", index_.receiver.geometry, &PairedSequence::receiver_RTD);

  std::vector<int64_t> offsets = {0}, labels, documents;
  std::vector<at::Tensor> token_ids;
  for (const PairedSequence& sequence : pending_) {
    offsets.push_back(offsets.back() + sequence.sender_STd.size(1));
    if (has_token_ids_) token_ids.push_back(sequence.token_ids);
    if (has_labels_) labels.push_back(*sequence.label);
    if (has_documents_) documents.push_back(*sequence.document);
  }
  tensors.push_back({"sequence_offsets", as_tensor(offsets)});
  if (has_token_ids_) tensors.push_back({"token_ids", at::cat(token_ids)});
  if (has_labels_) tensors.push_back({"labels", as_tensor(labels)});
  if (has_documents_) tensors.push_back({"document_ids", as_tensor(documents)});

  const auto shard = static_cast<int64_t>(index_.shards.size());
  const std::string name = shard_file_name(shard, count_shards(options_));
  const std::string path = (folder_ / name).string();
  write_safetensors(path, tensors);
  index_.shards.push_back(
      {name, sha256_of_file(path), static_cast<int64_t>(pending_.size()), offsets.back()});
  index_.num_sequences += static_cast<int64_t>(pending_.size());
  index_.num_tokens += offsets.back();
  pending_.clear();
}

DatasetIndex PairedDatasetWriter::finish() {
  TORCH_CHECK(num_added_ == options_.num_sequences,
              "PairedDatasetWriter::finish: ", folder_.string(), ": expected ",
              options_.num_sequences, " sequences, got ", num_added_, ".");
  if (!pending_.empty()) write_shard();
  write_file_atomically((folder_ / "index.json").string(), to_json(index_).dump(2) + "\n");
  return index_;
}

}  // namespace kvalign
