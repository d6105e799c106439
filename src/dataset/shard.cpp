// Checks of a shard's header and its small tensors, and the one conversion loop.
#include "shard.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

namespace kvalign {
namespace {

class ShardReader {
 public:
  ShardReader(SafetensorsFile file, const DatasetIndex& index, const ShardEntry& entry)
      : file_(std::move(file)), index_(index), entry_(entry) {}

  Shard read() {
    Shard shard{file_, streams("sender", index_.sender.geometry),
                streams("receiver", index_.receiver.geometry)};
    shard.dtype = shard.sender_Td.front().cache.scalar_type();
    check_dtypes(shard);
    shard.sequence_offsets = integers("sequence_offsets", entry_.num_sequences + 1);
    check_offsets(shard.sequence_offsets);
    if (index_.layout == DatasetLayout::kLayers || file_.contains("token_ids")) {
      shard.token_ids = vector_of("token_ids", at::kInt, entry_.num_tokens);
    }
    if (file_.contains("labels")) {
      shard.labels = integers("labels", entry_.num_sequences);
      for (const int64_t label : shard.labels) {
        TORCH_CHECK(label >= 0, where("labels"), "expected classes from 0, got ", label, ".");
      }
    }
    if (file_.contains("document_ids")) {
      shard.documents = integers("document_ids", entry_.num_sequences);
    }
    if (file_.contains("alignment")) vector_of("alignment", at::kInt, entry_.num_tokens);
    check_nothing_else(shard);
    return shard;
  }

 private:
  std::string where(const std::string& tensor) const { return file_.path() + ": " + tensor + ": "; }

  std::vector<StoredStream> streams(const std::string& side, const KvGeometry& geometry) {
    const bool flat = index_.layout == DatasetLayout::kFlat;
    const std::vector<int64_t> expected =
        flat ? std::vector<int64_t>{entry_.num_tokens, geometry.head_dim}
             : std::vector<int64_t>{entry_.num_tokens, geometry.num_kv_heads, geometry.head_dim};
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
      TORCH_CHECK(info.shape == expected, where(name), "expected shape ", expected,
                  " by the index (tokens, then the geometry of ", geometry.model, "), got ",
                  info.shape, ". Was this shard captured from another model?");
      result.push_back({name, file_.tensor(name).view({entry_.num_tokens, geometry.width()})});
    }
    return result;
  }

  void check_dtypes(const Shard& shard) const {
    for (const auto* side : {&shard.sender_Td, &shard.receiver_TD})
      for (const StoredStream& stream : *side)
        TORCH_CHECK(stream.cache.scalar_type() == shard.dtype, where(stream.name), "expected ",
                    safetensors_dtype_name(shard.dtype), " as ", shard.sender_Td.front().name,
                    ", got ", safetensors_dtype_name(stream.cache.scalar_type()),
                    ". All caches of a shard have one dtype.");
  }

  at::Tensor vector_of(const std::string& name, at::ScalarType dtype, int64_t length) const {
    TORCH_CHECK(file_.contains(name), where(name), "missing tensor; expected ",
                safetensors_dtype_name(dtype), " [", length, "].");
    const TensorInfo& info = file_.info(name);
    TORCH_CHECK(info.dtype == dtype && info.shape == std::vector<int64_t>{length}, where(name),
                "expected ", safetensors_dtype_name(dtype), " [", length, "] by the index, got ",
                safetensors_dtype_name(info.dtype), " ", info.shape, ".");
    return file_.tensor(name);
  }

  std::vector<int64_t> integers(const std::string& name, int64_t length) const {
    const at::Tensor tensor = vector_of(name, at::kLong, length);
    const int64_t* values = tensor.const_data_ptr<int64_t>();
    return {values, values + length};
  }

  void check_offsets(const std::vector<int64_t>& offsets) const {
    TORCH_CHECK(offsets.front() == 0, where("sequence_offsets"), "expected to start at 0, got ",
                offsets.front(), ".");
    for (size_t i = 1; i < offsets.size(); ++i) {
      TORCH_CHECK(offsets[i] > offsets[i - 1], where("sequence_offsets"),
                  "expected to increase strictly, got ", offsets[i - 1], " and then ", offsets[i],
                  " at sequence ", i - 1, " of the shard.");
    }
    TORCH_CHECK(offsets.back() == entry_.num_tokens, where("sequence_offsets"),
                "expected to end at the shard's ", entry_.num_tokens, " tokens, got ",
                offsets.back(), ".");
  }

  void check_nothing_else(const Shard& shard) const {
    std::set<std::string> known = {"sequence_offsets", "token_ids", "labels", "document_ids",
                                   "alignment"};
    for (const auto* side : {&shard.sender_Td, &shard.receiver_TD})
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
