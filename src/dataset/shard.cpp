// Checks of a shard's header and its small tensors, and the one conversion loop.
#include "shard.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "aligned_rows.h"

namespace kvalign {
namespace {

class ShardReader {
 public:
  ShardReader(SafetensorsFile file, const DatasetIndex& index, const ShardEntry& entry)
      : file_(std::move(file)), index_(index), entry_(entry) {}

  Shard read() {
    Shard shard{file_};
    const bool aligned = is_aligned();
    if (aligned) shard.sender_offsets = offsets("sender.sequence_offsets");
    shard.sender_Ud = streams("sender", index_.sender.geometry,
                              aligned ? shard.sender_offsets.back() : entry_.num_tokens);
    shard.receiver_TD = streams("receiver", index_.receiver.geometry, entry_.num_tokens);
    shard.dtype = shard.sender_Ud.front().cache.scalar_type();
    check_dtypes(shard);
    shard.sequence_offsets = offsets("sequence_offsets");
    TORCH_CHECK(shard.sequence_offsets.back() == entry_.num_tokens, where("sequence_offsets"),
                "expected to end at the shard's ", entry_.num_tokens, " tokens, got ",
                shard.sequence_offsets.back(), ".");
    if (aligned) {
      read_alignment(shard);
    } else {
      shard.sender_offsets = shard.sequence_offsets;
    }
    if (index_.layout == DatasetLayout::kLayers || file_.contains("token_ids")) {
      shard.token_ids = vector_of("token_ids", at::kInt, entry_.num_tokens);
    }
    if (file_.contains("labels")) {
      shard.labels = integers("labels", entry_.num_sequences);
      for (const int64_t label : shard.labels) {
        TORCH_CHECK(label >= 0, where("labels"), "expected classes from 0, got ", label, ".");
      }
    }
    if (file_.contains("document_ids") || !index_.documents.empty()) {
      shard.documents = integers("document_ids", entry_.num_sequences);
      check_documents(shard.documents);
    }
    check_nothing_else(shard);
    return shard;
  }

 private:
  std::string where(const std::string& tensor) const { return file_.path() + ": " + tensor + ": "; }

  // All three tensors that two tokenisers need, or none of them.
  bool is_aligned() const {
    const std::vector<std::string> names = {"sender.sequence_offsets", "sender.token_ids",
                                            "alignment"};
    const auto found = std::find_if(names.begin(), names.end(),
                                    [&](const auto& name) { return file_.contains(name); });
    if (found == names.end()) {
      const std::string &sender = index_.sender.tokenizer_sha256,
                        &receiver = index_.receiver.tokenizer_sha256;
      TORCH_CHECK(sender.empty() || receiver.empty() || sender == receiver, where("alignment"),
                  "missing tensor; the index says that the two models have different tokenizers (",
                  sender.substr(0, 12), " and ", receiver.substr(0, 12),
                  "), whose tokens need an alignment.");
      return false;
    }
    for (const std::string& name : names) {
      TORCH_CHECK(file_.contains(name), where(name), "missing tensor, but there is ", *found,
                  ". Expected sender.sequence_offsets, sender.token_ids and alignment together, or "
                  "none of them.");
    }
    return true;
  }

  void read_alignment(Shard& shard) const {
    vector_of("sender.token_ids", at::kInt, shard.sender_offsets.back());
    shard.alignment = vector_of("alignment", at::kInt, entry_.num_tokens);
    for (size_t i = 0; i + 1 < shard.sequence_offsets.size(); ++i) {
      const int64_t first = shard.sequence_offsets[i];
      check_alignment(shard.alignment.const_data_ptr<int32_t>() + first,
                      shard.sequence_offsets[i + 1] - first,
                      shard.sender_offsets[i + 1] - shard.sender_offsets[i],
                      c10::str(where("alignment"), "sequence ", i, " of the shard: "));
    }
  }

  std::vector<StoredStream> streams(const std::string& side, const KvGeometry& geometry,
                                    int64_t num_tokens) {
    const bool flat = index_.layout == DatasetLayout::kFlat;
    const std::vector<int64_t> expected =
        flat ? std::vector<int64_t>{num_tokens, geometry.head_dim}
             : std::vector<int64_t>{num_tokens, geometry.num_kv_heads, geometry.head_dim};
    std::vector<StoredStream> result;
    for (const std::string& stream : stream_names(index_.layout, geometry)) {
      const std::string name = side + "." + stream;
      TORCH_CHECK(file_.contains(name), where(name), "missing stream; the index says that ",
                  geometry.model, " has ", geometry.num_layers,
                  " layers. Was this shard captured from another model?");
      const TensorInfo& info = file_.info(name);
      TORCH_CHECK(
          info.dtype == at::kHalf || info.dtype == at::kBFloat16 || info.dtype == at::kFloat,
          where(name), "expected F16, BF16 or F32, got ", safetensors_dtype_name(info.dtype), ".");
      TORCH_CHECK(info.shape == expected, where(name), "expected shape ", at::IntArrayRef(expected),
                  " by the index (tokens, then the geometry of ", geometry.model, "), got ",
                  at::IntArrayRef(info.shape), ". Was this shard captured from another model?");
      result.push_back({name, file_.tensor(name).view({num_tokens, geometry.width()})});
    }
    return result;
  }

  void check_dtypes(const Shard& shard) const {
    for (const auto* side : {&shard.sender_Ud, &shard.receiver_TD})
      for (const StoredStream& stream : *side)
        TORCH_CHECK(stream.cache.scalar_type() == shard.dtype, where(stream.name), "expected ",
                    safetensors_dtype_name(shard.dtype), " as ", shard.sender_Ud.front().name,
                    ", got ", safetensors_dtype_name(stream.cache.scalar_type()),
                    ". All caches of a shard have one dtype.");
  }

  at::Tensor vector_of(const std::string& name, at::ScalarType dtype, int64_t length) const {
    TORCH_CHECK(file_.contains(name), where(name), "missing tensor; expected ",
                safetensors_dtype_name(dtype), " [", length, "].");
    const TensorInfo& info = file_.info(name);
    TORCH_CHECK(info.dtype == dtype && info.shape == std::vector<int64_t>{length}, where(name),
                "expected ", safetensors_dtype_name(dtype), " [", length, "] by the index, got ",
                safetensors_dtype_name(info.dtype), " ", at::IntArrayRef(info.shape), ".");
    return file_.tensor(name);
  }

  std::vector<int64_t> integers(const std::string& name, int64_t length) const {
    const at::Tensor tensor = vector_of(name, at::kLong, length);
    const int64_t* values = tensor.const_data_ptr<int64_t>();
    return {values, values + length};
  }

  std::vector<int64_t> offsets(const std::string& name) const {
    const std::vector<int64_t> result = integers(name, entry_.num_sequences + 1);
    TORCH_CHECK(result.front() == 0, where(name), "expected to start at 0, got ", result.front(),
                ".");
    for (size_t i = 1; i < result.size(); ++i) {
      TORCH_CHECK(result[i] > result[i - 1], where(name), "expected to increase strictly, got ",
                  result[i - 1], " and then ", result[i], " at sequence ", i - 1, " of the shard.");
    }
    return result;
  }

  void check_documents(const std::vector<int64_t>& documents) const {
    if (index_.documents.empty()) return;
    const auto count = static_cast<int64_t>(index_.documents.size());
    for (const int64_t document : documents) {
      TORCH_CHECK(document >= 0 && document < count, where("document_ids"),
                  "expected numbers of the ", count, " documents that index.json lists, got ",
                  document, ".");
    }
  }

  void check_nothing_else(const Shard& shard) const {
    std::set<std::string> known = {"sequence_offsets", "token_ids", "labels", "document_ids"};
    if (shard.alignment.defined()) {
      known.insert({"sender.sequence_offsets", "sender.token_ids", "alignment"});
    }
    for (const auto* side : {&shard.sender_Ud, &shard.receiver_TD})
      for (const StoredStream& stream : *side) known.insert(stream.name);
    for (const auto& [name, info] : file_.tensors()) {
      TORCH_CHECK(known.count(name), where(name),
                  "unexpected tensor; the index describes caches without it. Was this shard "
                  "captured from another model?");
    }
  }

  SafetensorsFile file_;
  const DatasetIndex& index_;
  const ShardEntry& entry_;
};

}  // namespace

Shard open_shard(const std::filesystem::path& folder, const DatasetIndex& index,
                 const ShardEntry& entry) {
  const std::filesystem::path path = folder / entry.file;
  TORCH_CHECK(std::filesystem::exists(path), path.string(),
              ": missing shard; index.json lists it. Copy the folder again or repeat the capture.");
  return ShardReader(SafetensorsFile::open(path.string()), index, entry).read();
}

int64_t first_non_finite(const float* values, int64_t count) {
  // An exponent of all ones is a NaN or an infinity: adding one to it carries into the sign bit.
  // The loop has no branch, so that the compiler vectorises it.
  constexpr uint32_t kExponent = 0x7f800000, kOneExponent = 0x00800000, kSign = 0x80000000;
  uint32_t carries = 0;
  for (int64_t i = 0; i < count; ++i) {
    carries |= (std::bit_cast<uint32_t>(values[i]) & kExponent) + kOneExponent;
  }
  if ((carries & kSign) == 0) return -1;
  return std::find_if(values, values + count, [](float value) { return !std::isfinite(value); }) -
         values;
}

int64_t copy_rows(const at::Tensor& cache, int64_t first, int64_t count, float* output) {
  // ATen starts its threads for 32768 elements and more (at::internal::GRAIN_SIZE). Smaller pieces
  // keep a loader's thread from starting a second set of them beside the one that trains, and stay
  // in the CPU's cache for the check.
  constexpr int64_t kGrain = 32768;
  const int64_t width = cache.size(1);
  const int64_t rows_per_piece = std::max<int64_t>(1, (kGrain - 1) / width);
  for (int64_t done = 0; done < count; done += rows_per_piece) {
    const int64_t rows = std::min(rows_per_piece, count - done);
    float* piece = output + done * width;
    at::from_blob(piece, {rows, width}, at::kFloat).copy_(cache.narrow(0, first + done, rows));
    const int64_t bad = first_non_finite(piece, rows * width);
    if (bad >= 0) return done * width + bad;
  }
  return -1;
}

std::string non_finite_text(const StoredStream& stream, int64_t sequence, int64_t position,
                            int64_t skipped_tokens) {
  const int64_t width = stream.cache.size(1);
  return c10::str("sequence ", sequence, ", token ", skipped_tokens + position / width,
                  ", channel ", position % width, " of ", width,
                  " is not finite. Did the model's values exceed the stored dtype? Capture them as "
                  "bfloat16 or float32.");
}

}  // namespace kvalign
