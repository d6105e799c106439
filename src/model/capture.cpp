// Capture: passes of two decoders, shard by shard.
//
// Shapes: B batch   S streams of a model   T tokens of a sequence   N kv heads   H head dim
//         d = N * H
#include "kvalign/model/capture.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "kvalign/core/sha256.h"
#include "kvalign/dataset/paired_writer.h"
#include "kvalign/dataset/task_file.h"
#include "kvalign/model/decoder.h"

namespace kvalign {
namespace {

at::ScalarType dtype_of(const CaptureOptions& options) {
  return options.dtype == "float16"    ? at::kHalf
         : options.dtype == "bfloat16" ? at::kBFloat16
                                       : at::kFloat;
}

void check_vocabulary(const TokenFile& tokens, const TokenSide& side, const Decoder& decoder) {
  const auto largest = side.token_ids.max().item<int32_t>();
  TORCH_CHECK(largest < decoder.config().vocab_size, tokens.path, ": expected token ids below ",
              decoder.config().vocab_size, ", the vocabulary of ", decoder.geometry().model,
              ", got ", largest, ". Was the file made with another model's tokenizer?");
}

// One model's caches of right-padded sequences: [S, T, d] of `dtype` each. A causal model's tokens
// do not see the padding behind them.
std::vector<at::Tensor> run_batch(const Decoder& decoder, const std::vector<at::Tensor>& token_ids,
                                  at::ScalarType dtype) {
  int64_t longest = 0;
  for (const at::Tensor& ids_T : token_ids) longest = std::max(longest, ids_T.size(0));
  const auto batch = static_cast<int64_t>(token_ids.size());
  at::Tensor padded_BT = at::zeros({batch, longest}, at::kInt);
  for (int64_t b = 0; b < batch; ++b) {
    const at::Tensor& ids_T = token_ids[static_cast<size_t>(b)];
    padded_BT[b].narrow(0, 0, ids_T.size(0)).copy_(ids_T);
  }
  const DecoderOutput output = decoder.forward({.token_ids_BT = padded_BT, .num_logits = 0});
  const KvGeometry& geometry = decoder.geometry();
  const int64_t num_layers = geometry.num_layers;
  std::vector<at::Tensor> result;
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t count = token_ids[static_cast<size_t>(b)].size(0);
    at::Tensor streams_STNH =
        at::empty({2 * num_layers, count, geometry.num_kv_heads, geometry.head_dim}, dtype);
    for (int64_t layer = 0; layer < num_layers; ++layer) {
      const auto store = [&](int64_t stream, const at::Tensor& cache_BNTH) {
        streams_STNH[stream].copy_(cache_BNTH[b].narrow(1, 0, count).transpose(0, 1));
      };
      store(layer, output.cache->keys(layer));
      store(num_layers + layer, output.cache->values(layer));
    }
    result.push_back(streams_STNH.flatten(2));
  }
  return result;
}

class CaptureRun {
 public:
  CaptureRun(const CaptureOptions& options, const std::filesystem::path& folder, c10::Device device,
             const CaptureControl& control)
      : options_(options),
        control_(control),
        tokens_(read_task_texts_or_token_file(options.tokens)),
        sender_(Decoder::load(options.sender, device)),
        receiver_(Decoder::load(options.receiver, device)),
        writer_(make_writer(folder)) {
    check_vocabulary(tokens_, tokens_.sender, sender_);
    check_vocabulary(tokens_, tokens_.receiver, receiver_);
  }

  CaptureResult run() {
    result_.num_shards = writer_.num_shards();
    for (int64_t shard = 0; shard < result_.num_shards; ++shard) {
      if (writer_.has_shard(shard)) continue;
      const auto [first, end] = range_of(shard);
      for (const TokenSide* side : {&tokens_.sender, &tokens_.receiver}) {
        result_.progress.tokens_total +=
            side->offsets[static_cast<size_t>(end)] - side->offsets[static_cast<size_t>(first)];
      }
    }
    for (int64_t shard = 0; shard < result_.num_shards; ++shard) {
      if (writer_.has_shard(shard)) {
        writer_.keep_shard();
        ++result_.shards_kept;
      } else if (!write_shard(shard)) {
        result_.interrupted = true;
        return std::move(result_);
      }
    }
    result_.index = writer_.finish();
    return std::move(result_);
  }

 private:
  PairedDatasetWriter make_writer(const std::filesystem::path& folder) const {
    const auto side_of = [](const Decoder& decoder, const TokenSide& side) {
      return DatasetSide{decoder.geometry(), weights_sha256(decoder.folder()),
                         side.tokenizer_sha256};
    };
    DatasetIndex header;
    header.layout = DatasetLayout::kLayers;
    header.created_by = "kvalign capture " KVALIGN_VERSION;
    header.sender = side_of(sender_, tokens_.sender);
    header.receiver = side_of(receiver_, tokens_.receiver);
    header.num_sinks = options_.num_sinks;
    header.documents = tokens_.document_sha256;
    const std::filesystem::path token_path(tokens_.path);
    const nlohmann::json token_file = {{"name", token_path.filename().string()},
                                       {"sha256", sha256_of_file(tokens_.path)}};
    header.source =
        nlohmann::json{{"token_file", token_file},
                       {"text", tokens_.source.empty() ? nlohmann::json()
                                                       : nlohmann::json::parse(tokens_.source)},
                       {"compute",
                        {{"dtype", "float32"},
                         {"device", sender_.device().str()},
                         {"threads", at::get_num_threads()},
                         {"libtorch", TORCH_VERSION}}}}
            .dump();
    const nlohmann::json plan = {header.sender.revision, header.receiver.revision,
                                 token_file["sha256"], options_.dtype,
                                 options_.sequences_per_shard};
    return {folder,
            header,
            {.num_sequences = tokens_.num_sequences(),
             .sequences_per_shard = options_.sequences_per_shard,
             .dtype = dtype_of(options_),
             .plan = sha256_hex("kvalign capture 1 " + plan.dump())}};
  }

  // Sequences [first, end) of a shard.
  std::pair<int64_t, int64_t> range_of(int64_t shard) const {
    const int64_t first = shard * options_.sequences_per_shard;
    return {first, std::min(first + options_.sequences_per_shard, tokens_.num_sequences())};
  }

  // False where the capture is to stop; then nothing of the shard is kept.
  bool write_shard(int64_t shard) {
    std::vector<at::Tensor> sender, receiver;
    if (!run_side(shard, sender_, tokens_.sender, sender)) return false;
    if (!run_side(shard, receiver_, tokens_.receiver, receiver)) return false;
    const auto [first, end] = range_of(shard);
    for (int64_t number = first; number < end; ++number) {
      const auto place = static_cast<size_t>(number - first);
      PairedSequence sequence;
      sequence.sender_SUd = std::move(sender[place]);
      sequence.receiver_RTD = std::move(receiver[place]);
      sequence.token_ids = tokens_.receiver.sequence(number).token_ids;
      if (!tokens_.one_tokenizer) {
        sequence.sender_token_ids = tokens_.sender.sequence(number).token_ids;
        sequence.alignment = tokens_.alignment(number);
      }
      sequence.document = tokens_.documents[static_cast<size_t>(number)];
      if (!tokens_.labels.empty()) sequence.label = tokens_.labels[static_cast<size_t>(number)];
      writer_.add(sequence);
    }
    ++result_.shards_written;
    return true;
  }

  bool run_side(int64_t shard, const Decoder& decoder, const TokenSide& side,
                std::vector<at::Tensor>& streams_STd) {
    const auto [first, end] = range_of(shard);
    for (int64_t begin = first; begin < end; begin += options_.batch_sequences) {
      if (control_.stop_requested && control_.stop_requested()) return false;
      std::vector<at::Tensor> token_ids;
      for (int64_t i = begin; i < std::min(begin + options_.batch_sequences, end); ++i) {
        token_ids.push_back(side.sequence(i).token_ids);
        result_.progress.tokens_done += token_ids.back().size(0);
      }
      for (at::Tensor& streams : run_batch(decoder, token_ids, dtype_of(options_))) {
        streams_STd.push_back(std::move(streams));
      }
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start_;
      result_.progress.tokens_per_s =
          static_cast<double>(result_.progress.tokens_done) / std::max(1e-9, seconds.count());
      if (control_.on_progress) control_.on_progress(result_.progress);
    }
    return true;
  }

  const CaptureOptions& options_;
  const CaptureControl& control_;
  TokenFile tokens_;
  Decoder sender_, receiver_;
  PairedDatasetWriter writer_;
  CaptureResult result_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

std::string weights_sha256(const std::filesystem::path& folder) {
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() == ".safetensors") files.push_back(file.path().string());
  }
  std::sort(files.begin(), files.end());
  std::string digests;
  for (const std::string& file : files) digests += sha256_of_file(file);
  return files.size() == 1 ? digests : sha256_hex(digests);
}

void CaptureOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "sender",
                 .help = "Hugging Face folder of the model whose cache is read",
                 .required = true},
                sender);
  visitor.field({.name = "receiver",
                 .help = "Hugging Face folder of the model whose cache is written",
                 .required = true},
                receiver);
  visitor.field({.name = "tokens",
                 .help = "token file, made by scripts/tokenise.py, or task file, for its texts",
                 .required = true},
                tokens);
  visitor.field({.name = "sequences_per_shard",
                 .help = "sequences of one file; one file is held in memory",
                 .minimum = 1},
                sequences_per_shard);
  visitor.field({.name = "batch_sequences",
                 .help = "sequences of one pass, padded to the longest",
                 .minimum = 1},
                batch_sequences);
  visitor.field({.name = "dtype",
                 .help = "how the caches are stored",
                 .one_of = {"float16", "bfloat16", "float32"}},
                dtype);
  visitor.field(
      {.name = "num_sinks",
       .help = "first tokens of each sequence that the dataset records as attention sinks",
       .minimum = 0},
      num_sinks);
}

CaptureResult capture(const CaptureOptions& options, const std::filesystem::path& folder,
                      c10::Device device, const CaptureControl& control) {
  validate_options(options);
  return CaptureRun(options, folder, device, control).run();
}

}  // namespace kvalign
