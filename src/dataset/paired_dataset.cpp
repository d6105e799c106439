// Opening a folder of shards, and reading sequences out of them.
//
// Shapes: S sender streams, R receiver streams, T tokens, U sender tokens, B sequences, d, D widths
#include "kvalign/dataset/paired_dataset.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "aligned_rows.h"
#include "kvalign/core/sha256.h"
#include "shard.h"

namespace kvalign {

struct PairedDataset::State {
  std::filesystem::path folder;
  DatasetIndex index;
  std::string sha256;
  AlignmentReading alignment;
  std::vector<Shard> shards;
  std::vector<int64_t> first_sequence;  ///< number of each shard's first sequence, then the total
};

namespace {

/// Optional tensors must be in every shard or in none.
template <class HasIt>
void check_alike(const std::vector<Shard>& shards, const char* name, HasIt has_it) {
  for (const Shard& shard : shards) {
    TORCH_CHECK(has_it(shard) == has_it(shards.front()), shard.file.path(), ": ", name, ": ",
                has_it(shard) ? "found here, but missing from " : "missing here, but found in ",
                shards.front().file.path(), ". Expected in all shards or in none.");
  }
}

/// Tokens of one sequence that are read, and where they go in the batch.
struct TokenRange {
  int64_t sequence;  ///< number in the dataset
  size_t in_shard;   ///< number in its shard
  int64_t skipped, count;
  int64_t output_first;
};

/// Copies the tokens of one side's streams into [streams, T, width].
void copy_side(const Shard& shard, const std::vector<StoredStream>& streams,
               const TokenRange& tokens, at::Tensor& output) {
  const int64_t num_tokens = output.size(1), width = output.size(2);
  const int64_t first = shard.sequence_offsets[tokens.in_shard] + tokens.skipped;
  float* stream_output = output.mutable_data_ptr<float>() + tokens.output_first * width;
  for (const StoredStream& stream : streams) {
    const int64_t bad = copy_rows(stream.cache, first, tokens.count, stream_output);
    TORCH_CHECK(bad < 0, shard.file.path(), ": ", stream.name, ": ",
                non_finite_text(stream, tokens.sequence, bad, tokens.skipped));
    stream_output += num_tokens * width;
  }
}

/// The same of the sender's streams, through the alignment.
void gather_side(const Shard& shard, const TokenRange& tokens, AlignmentReading reading,
                 at::Tensor& output_STd) {
  const int64_t num_tokens = output_STd.size(1), width = output_STd.size(2);
  const AlignedTokens aligned{
      shard.alignment.const_data_ptr<int32_t>() + shard.sequence_offsets[tokens.in_shard],
      tokens.skipped, tokens.count, reading};
  const int64_t first_row = first_aligned_row(aligned, tokens.skipped);
  const int64_t num_rows =
      aligned.alignment[tokens.skipped + tokens.count - 1] + int64_t{1} - first_row;
  std::vector<float> rows_Ud(static_cast<size_t>(num_rows * width));
  float* stream_output = output_STd.mutable_data_ptr<float>() + tokens.output_first * width;
  for (const StoredStream& stream : shard.sender_Ud) {
    const int64_t bad = copy_rows(stream.cache, shard.sender_offsets[tokens.in_shard] + first_row,
                                  num_rows, rows_Ud.data());
    TORCH_CHECK(bad < 0, shard.file.path(), ": ", stream.name, ": ",
                non_finite_text(stream, tokens.sequence, bad, first_row));
    gather_aligned_rows(rows_Ud.data(), first_row, width, aligned, stream_output);
    stream_output += num_tokens * width;
  }
}

}  // namespace

PairedDataset::PairedDataset(std::unique_ptr<const State> state) : state_(std::move(state)) {}
PairedDataset::~PairedDataset() = default;

std::shared_ptr<const PairedDataset> PairedDataset::open(const std::filesystem::path& folder,
                                                         AlignmentReading alignment) {
  auto state = std::make_unique<State>();
  state->folder = folder;
  state->alignment = alignment;
  state->index = read_index(folder);
  state->sha256 = sha256_of_file((folder / "index.json").string());
  state->first_sequence = {0};
  for (const ShardEntry& entry : state->index.shards) {
    state->shards.push_back(open_shard(folder, state->index, entry));
    state->first_sequence.push_back(state->first_sequence.back() + entry.num_sequences);
  }
  check_alike(state->shards, "token_ids", [](const Shard& s) { return s.token_ids.defined(); });
  check_alike(state->shards, "alignment", [](const Shard& s) { return s.alignment.defined(); });
  check_alike(state->shards, "labels", [](const Shard& s) { return !s.labels.empty(); });
  check_alike(state->shards, "document_ids", [](const Shard& s) { return !s.documents.empty(); });
  return std::shared_ptr<const PairedDataset>(new PairedDataset(std::move(state)));
}

const std::filesystem::path& PairedDataset::folder() const {
  return state_->folder;
}
const DatasetIndex& PairedDataset::index() const {
  return state_->index;
}
const std::string& PairedDataset::sha256() const {
  return state_->sha256;
}
int64_t PairedDataset::num_sequences() const {
  return state_->index.num_sequences;
}
int64_t PairedDataset::num_tokens() const {
  return state_->index.num_tokens;
}

int64_t PairedDataset::num_sender_streams() const {
  return static_cast<int64_t>(state_->shards.front().sender_Ud.size());
}

int64_t PairedDataset::num_receiver_streams() const {
  return static_cast<int64_t>(state_->shards.front().receiver_TD.size());
}

std::vector<std::string> PairedDataset::sender_stream_names() const {
  return stream_names(state_->index.layout, state_->index.sender.geometry);
}

std::vector<std::string> PairedDataset::receiver_stream_names() const {
  return stream_names(state_->index.layout, state_->index.receiver.geometry);
}

bool PairedDataset::has_documents() const {
  return !state_->shards.front().documents.empty();
}
bool PairedDataset::has_labels() const {
  return !state_->shards.front().labels.empty();
}
bool PairedDataset::has_token_ids() const {
  return state_->shards.front().token_ids.defined();
}
bool PairedDataset::has_alignment() const {
  return state_->shards.front().alignment.defined();
}

PairedDataset::Place PairedDataset::place(int64_t sequence) const {
  TORCH_CHECK(sequence >= 0 && sequence < num_sequences(), state_->folder.string(),
              ": expected a sequence from 0 to ", num_sequences() - 1, ", got ", sequence, ".");
  const auto& firsts = state_->first_sequence;
  const auto after = std::upper_bound(firsts.begin(), firsts.end(), sequence);
  const int64_t shard = after - firsts.begin() - 1;
  return {shard, sequence - firsts[static_cast<size_t>(shard)]};
}

int64_t PairedDataset::sequence_length(int64_t sequence) const {
  const auto [shard, number] = place(sequence);
  const auto& offsets = state_->shards[static_cast<size_t>(shard)].sequence_offsets;
  return offsets[static_cast<size_t>(number) + 1] - offsets[static_cast<size_t>(number)];
}

int64_t PairedDataset::sender_length(int64_t sequence) const {
  const auto [shard, number] = place(sequence);
  const auto& offsets = state_->shards[static_cast<size_t>(shard)].sender_offsets;
  return offsets[static_cast<size_t>(number) + 1] - offsets[static_cast<size_t>(number)];
}

int64_t PairedDataset::document(int64_t sequence) const {
  const auto [shard, number] = place(sequence);
  if (!has_documents()) return sequence;
  return state_->shards[static_cast<size_t>(shard)].documents[static_cast<size_t>(number)];
}

std::optional<int64_t> PairedDataset::label(int64_t sequence) const {
  const auto [shard, number] = place(sequence);
  if (!has_labels()) return std::nullopt;
  return state_->shards[static_cast<size_t>(shard)].labels[static_cast<size_t>(number)];
}

at::Tensor PairedDataset::stored_tensor(int64_t shard, const std::string& name) const {
  TORCH_CHECK(shard >= 0 && shard < static_cast<int64_t>(state_->shards.size()),
              state_->folder.string(), ": expected a shard from 0 to ", state_->shards.size() - 1,
              ", got ", shard, ".");
  return state_->shards[static_cast<size_t>(shard)].file.tensor(name);
}

PairedBatch PairedDataset::read(const std::vector<int64_t>& sequences,
                                int64_t skip_first_tokens) const {
  TORCH_CHECK(!sequences.empty(), state_->folder.string(),
              ": expected sequences to read, got none.");
  TORCH_CHECK(skip_first_tokens >= 0, state_->folder.string(),
              ": expected skip_first_tokens of at least 0, got ", skip_first_tokens, ".");
  const auto num_batch = static_cast<int64_t>(sequences.size());
  PairedBatch batch;
  batch.sequences = sequences;
  batch.sequence_offsets = at::empty({num_batch + 1}, at::kLong);
  int64_t* offsets = batch.sequence_offsets.mutable_data_ptr<int64_t>();
  offsets[0] = 0;
  for (int64_t b = 0; b < num_batch; ++b) {
    const int64_t sequence = sequences[static_cast<size_t>(b)];
    const int64_t length = sequence_length(sequence);
    TORCH_CHECK(length > skip_first_tokens, state_->folder.string(), ": sequence ", sequence,
                " has ", length, " tokens, so none are left after the first ", skip_first_tokens,
                " (sinks). Leave it out of the dataset.");
    offsets[b + 1] = offsets[b] + length - skip_first_tokens;
  }
  const int64_t num_tokens = offsets[num_batch];
  const DatasetIndex& index = state_->index;
  batch.sender_STd =
      at::empty({num_sender_streams(), num_tokens, index.sender.geometry.width()}, at::kFloat);
  batch.receiver_RTD =
      at::empty({num_receiver_streams(), num_tokens, index.receiver.geometry.width()}, at::kFloat);
  if (has_token_ids()) batch.token_ids = at::empty({num_tokens}, at::kInt);
  if (has_labels()) batch.labels = at::empty({num_batch}, at::kLong);

  for (int64_t b = 0; b < num_batch; ++b) {
    const int64_t sequence = sequences[static_cast<size_t>(b)];
    const auto [shard_number, number] = place(sequence);
    const Shard& shard = state_->shards[static_cast<size_t>(shard_number)];
    const auto place_in_shard = static_cast<size_t>(number);
    const TokenRange tokens{.sequence = sequence,
                            .in_shard = place_in_shard,
                            .skipped = skip_first_tokens,
                            .count = offsets[b + 1] - offsets[b],
                            .output_first = offsets[b]};
    if (shard.alignment.defined()) {
      gather_side(shard, tokens, state_->alignment, batch.sender_STd);
    } else {
      copy_side(shard, shard.sender_Ud, tokens, batch.sender_STd);
    }
    copy_side(shard, shard.receiver_TD, tokens, batch.receiver_RTD);
    // A pass over the data must not keep all of it in memory.
    shard.file.let_go_of_pages();
    if (has_token_ids()) {
      const int64_t first = shard.sequence_offsets[place_in_shard] + skip_first_tokens;
      batch.token_ids.narrow(0, offsets[b], tokens.count)
          .copy_(shard.token_ids.narrow(0, first, tokens.count));
    }
    if (has_labels()) {
      batch.labels.mutable_data_ptr<int64_t>()[b] = shard.labels[place_in_shard];
    }
  }
  return batch;
}

}  // namespace kvalign
