// Gathers sequences into shards, writes them, and records which are done.
//
// Shapes: S sender streams, R receiver streams, T tokens of a sequence, U its sender tokens, d, D
//         widths
#include "kvalign/dataset/paired_writer.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "aligned_rows.h"
#include "kvalign/core/files.h"
#include "kvalign/core/geometry_json.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/core/sha256.h"
#include "writer_progress.h"

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
  if (options.plan.empty() && std::filesystem::exists(folder_ / "index.json")) {
    throw std::invalid_argument(where + "holds a dataset already. Give an empty folder.");
  }
  std::filesystem::create_directories(folder_);
  index_.num_sequences = index_.num_tokens = 0;
  index_.shards.clear();
  if (options.plan.empty()) return;
  remove_leftovers(folder_);
  for (const auto& [number, shard] : read_progress(folder_, options.plan)) {
    const std::string path = (folder_ / shard.file).string();
    if (std::filesystem::is_regular_file(path) && sha256_of_file(path) == shard.sha256) {
      kept_.emplace(number, shard);
    }
  }
  record_progress(folder_, options.plan, kept_);  // before a shard that a kill could leave without
}

int64_t PairedDatasetWriter::num_shards() const {
  return count_shards(options_);
}

void PairedDatasetWriter::keep_shard() {
  const auto number = static_cast<int64_t>(index_.shards.size());
  TORCH_CHECK(pending_.empty() && has_shard(number),
              "PairedDatasetWriter::keep_shard: ", folder_.string(), ": shard ", number,
              " is not there, or is being added to.");
  const ShardEntry& shard = kept_.at(number);
  index_.shards.push_back(shard);
  index_.num_sequences += shard.num_sequences;
  index_.num_tokens += shard.num_tokens;
  num_added_ += shard.num_sequences;
}

void PairedDatasetWriter::check(const PairedSequence& sequence) const {
  TORCH_CHECK(num_added_ < options_.num_sequences, "PairedDatasetWriter::add: ", folder_.string(),
              ": expected ", options_.num_sequences, " sequences, got one more.");
  const auto count_streams = [&](const KvGeometry& geometry) {
    return static_cast<int64_t>(stream_names(index_.layout, geometry).size());
  };
  const KvGeometry& sender = index_.sender.geometry;
  const KvGeometry& receiver = index_.receiver.geometry;
  const auto count_tokens = [](const at::Tensor& streams) {
    return streams.defined() && streams.dim() == 3 ? streams.size(1) : 0;
  };
  const int64_t num_sender = count_tokens(sequence.sender_SUd);
  const int64_t num_tokens =
      sequence.alignment.defined() ? count_tokens(sequence.receiver_RTD) : num_sender;
  check_streams(sequence.sender_SUd, "sender", sender, count_streams(sender), num_sender);
  check_streams(sequence.receiver_RTD, "receiver", receiver, count_streams(receiver), num_tokens);
  TORCH_CHECK(num_tokens > 0 && num_sender > 0,
              "PairedDatasetWriter::add: expected at least 1 token, got none.");
  check_tokens(sequence);
}

void PairedDatasetWriter::check_tokens(const PairedSequence& sequence) const {
  const int64_t num_tokens = sequence.receiver_RTD.size(1);
  const int64_t num_sender = sequence.sender_SUd.size(1);
  const auto check_vector = [](const at::Tensor& vector, const char* name, int64_t length) {
    TORCH_CHECK(!vector.defined() || (vector.scalar_type() == at::kInt && vector.is_contiguous() &&
                                      vector.sizes() == length),
                "PairedDatasetWriter::add: expected contiguous int32 ", name, " [", length,
                "], got ", vector.toString(), " ", vector.sizes(), ".");
  };
  check_vector(sequence.token_ids, "token_ids", num_tokens);
  check_vector(sequence.sender_token_ids, "sender_token_ids", num_sender);
  check_vector(sequence.alignment, "alignment", num_tokens);
  TORCH_CHECK(sequence.token_ids.defined() || index_.layout == DatasetLayout::kFlat,
              "PairedDatasetWriter::add: expected token_ids, which only a flat dataset may lack.");
  TORCH_CHECK(sequence.alignment.defined() == sequence.sender_token_ids.defined(),
              "PairedDatasetWriter::add: expected alignment and sender_token_ids together, for "
              "tokenizers that differ.");
  if (sequence.alignment.defined()) {
    check_alignment(sequence.alignment.const_data_ptr<int32_t>(), num_tokens, num_sender,
                    "PairedDatasetWriter::add: alignment: ");
  }
  const auto num_documents = static_cast<int64_t>(index_.documents.size());
  TORCH_CHECK(
      num_documents == 0 ||
          (sequence.document && *sequence.document >= 0 && *sequence.document < num_documents),
      "PairedDatasetWriter::add: expected one of the header's ", num_documents, " documents, got ",
      sequence.document ? std::to_string(*sequence.document) : std::string("none"), ".");
}

void PairedDatasetWriter::add(const PairedSequence& sequence) {
  check(sequence);
  PairedSequence stored = sequence;
  stored.sender_SUd = as_stored(sequence.sender_SUd, "sender", options_.dtype, num_added_);
  stored.receiver_RTD = as_stored(sequence.receiver_RTD, "receiver", options_.dtype, num_added_);
  if (!first_) {
    first_ = sequence;
    first_->sender_SUd.reset();
    first_->receiver_RTD.reset();
  }
  TORCH_CHECK(first_->token_ids.defined() == sequence.token_ids.defined() &&
                  first_->alignment.defined() == sequence.alignment.defined() &&
                  first_->label.has_value() == sequence.label.has_value() &&
                  first_->document.has_value() == sequence.document.has_value(),
              "PairedDatasetWriter::add: sequence ", num_added_,
              ": token_ids, alignment, label and document must be given for all sequences or for "
              "none.");
  pending_.push_back(std::move(stored));
  ++num_added_;
  if (static_cast<int64_t>(pending_.size()) == options_.sequences_per_shard) write_shard();
}

void PairedDatasetWriter::write_shard() {
  std::vector<int64_t> offsets = {0}, sender_offsets = {0}, labels, documents;
  std::vector<at::Tensor> token_ids, sender_token_ids, alignment;
  for (const PairedSequence& sequence : pending_) {
    offsets.push_back(offsets.back() + sequence.receiver_RTD.size(1));
    sender_offsets.push_back(sender_offsets.back() + sequence.sender_SUd.size(1));
    if (sequence.token_ids.defined()) token_ids.push_back(sequence.token_ids);
    if (sequence.alignment.defined()) {
      sender_token_ids.push_back(sequence.sender_token_ids);
      alignment.push_back(sequence.alignment);
    }
    if (sequence.label) labels.push_back(*sequence.label);
    if (sequence.document) documents.push_back(*sequence.document);
  }
  std::vector<NamedTensor> tensors = {{"sequence_offsets", as_tensor(offsets)}};
  if (!token_ids.empty()) tensors.push_back({"token_ids", at::cat(token_ids)});
  if (!alignment.empty()) {
    tensors.push_back({"sender.sequence_offsets", as_tensor(sender_offsets)});
    tensors.push_back({"sender.token_ids", at::cat(sender_token_ids)});
    tensors.push_back({"alignment", at::cat(alignment)});
  }
  if (!labels.empty()) tensors.push_back({"labels", as_tensor(labels)});
  if (!documents.empty()) tensors.push_back({"document_ids", as_tensor(documents)});

  // Each side is let go of once it is packed: a shard is there twice for one side only.
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
    for (PairedSequence& sequence : pending_) (sequence.*member).reset();
  };
  add_side("sender", index_.sender.geometry, &PairedSequence::sender_SUd);
  add_side("receiver", index_.receiver.geometry, &PairedSequence::receiver_RTD);

  const auto shard = static_cast<int64_t>(index_.shards.size());
  const std::string name = shard_file_name(shard, num_shards());
  const std::string path = (folder_ / name).string();
  write_safetensors(path, tensors);
  index_.shards.push_back(
      {name, sha256_of_file(path), static_cast<int64_t>(pending_.size()), offsets.back()});
  index_.num_sequences += static_cast<int64_t>(pending_.size());
  index_.num_tokens += offsets.back();
  pending_.clear();
  if (options_.plan.empty()) return;
  kept_[shard] = index_.shards.back();
  record_progress(folder_, options_.plan, kept_);
}

DatasetIndex PairedDatasetWriter::finish() {
  TORCH_CHECK(num_added_ == options_.num_sequences,
              "PairedDatasetWriter::finish: ", folder_.string(), ": expected ",
              options_.num_sequences, " sequences, got ", num_added_, ".");
  if (!pending_.empty()) write_shard();
  if (!options_.plan.empty()) index_.source = with_plan(index_.source, options_.plan);
  write_file_atomically((folder_ / "index.json").string(), to_json(index_).dump(2) + "\n");
  std::filesystem::remove(folder_ / kProgressFile);
  return index_;
}

}  // namespace kvalign
