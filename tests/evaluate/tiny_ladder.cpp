// Captures, writes and saves what a tiny ladder reads. See tiny_ladder.h.
#include "tests/evaluate/tiny_ladder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>

#include "kvalign/core/sha256.h"
#include "kvalign/dataset/alignment.h"
#include "kvalign/dataset/paired_writer.h"
#include "kvalign/dataset/split.h"
#include "kvalign/dataset/token_file.h"
#include "kvalign/model/decoder.h"
#include "kvalign/projector/kv_projector.h"
#include "kvalign/train/checkpoint.h"

namespace kvalign::testing {
namespace {

at::Tensor streams(const Decoder& decoder, const at::Tensor& token_ids) {
  return decoder.forward({.token_ids_BT = token_ids.unsqueeze(0), .num_logits = 0})
      .cache->streams();
}

}  // namespace

TinySide tiny_side(int64_t num_tokens, int64_t bytes, Random& random) {
  std::vector<int32_t> ids, cuts;
  for (int64_t byte = 1; byte < bytes; ++byte) cuts.push_back(static_cast<int32_t>(byte));
  while (static_cast<int64_t>(cuts.size()) >= num_tokens) {
    cuts.erase(cuts.begin() + random.below(static_cast<int64_t>(cuts.size())));
  }
  cuts.push_back(static_cast<int32_t>(bytes));
  for (int64_t i = 0; i < num_tokens; ++i) {
    ids.push_back(static_cast<int32_t>(random.below(kVocabulary)));
  }
  return {at::tensor(ids, at::kInt), at::tensor(cuts, at::kInt)};
}

TinyLadder::TinyLadder(const std::string& sender, const std::string& receiver, bool one_tokenizer)
    : one_tokenizer_(one_tokenizer) {
  options.sender = golden_decoder(sender);
  options.receiver = golden_decoder(receiver);
  options.tokens = folder.file("tokens.safetensors");
  options.prefix_tokens = 14;
  options.continuation_tokens = 10;
  options.sinks = 2;
  options.reread = {0, 3};
  options.wire = "float32";
  options.gate_tokens = 40;
  recipe.device = "cpu";
  recipe.run_folder = folder.file("run");
  recipe.dataset.folder = folder.file("data");
  recipe.split = {.validation = 0.2, .test = 0.2};
  evaluate.bootstrap_resamples = 100;
  capture();
  write_tokens();
  save_checkpoint_of(/*identity=*/false);
}

std::string TinyLadder::save(const std::string& file, const ProjectorOptions& options,
                             bool identity) {
  const auto dataset = PairedDataset::open(recipe.dataset.folder);
  const DatasetIndex& index = dataset->index();
  auto projector =
      std::make_shared<KvProjector>(options, index.sender.geometry, index.receiver.geometry);
  const at::NoGradGuard no_gradients;
  for (at::Tensor& parameter : projector->projector().parameters()) {
    if (!identity) break;
    parameter.zero_();
    if (parameter.dim() == 3) parameter.diagonal(0, 1, 2).fill_(1);
  }
  const std::string path = folder.file(file);
  save_checkpoint(path, {.projector = projector,
                         .recipe = "{}",
                         .dataset_sha256 = dataset->sha256(),
                         .split_sha256 = split_by_sequence(*dataset, recipe.split).sha256,
                         .num_sinks = 2,
                         .skip_first_tokens = 2});
  return path;
}

void TinyLadder::save_checkpoint_of(bool identity) {
  evaluate.checkpoints = {
      "linear=" + save("checkpoint.safetensors",
                       {.standardise_features = false, .standardise_targets = false}, identity)};
}

std::string TinyLadder::save_low_rank_checkpoint(int64_t rank) {
  return save("low_rank.safetensors",
              {.kind = "low_rank",
               .rank = rank,
               .standardise_features = false,
               .standardise_targets = false,
               .layer_map = {.kind = "all", .features = "both"}},
              /*identity=*/false);
}

std::string TinyLadder::save_bidirectional_checkpoint(bool identity) {
  return save(
      "bidirectional.safetensors",
      {.kind = "bidirectional", .standardise_features = false, .standardise_targets = false},
      identity);
}

void TinyLadder::edit_metadata(const std::function<void(nlohmann::json&)>& edit) {
  edit(metadata_);
  write_safetensors(options.tokens, tensors_, {{"kvalign", metadata_.dump()}});
}

TinyText TinyLadder::text(int64_t document) {
  TinyText text{.document = document};
  text.receiver = tiny_side(kTokens, kBytes, random_);
  text.sender = one_tokenizer_ ? text.receiver : tiny_side(kSenderTokens, kBytes, random_);
  return text;
}

std::string TinyLadder::tokenizer(const std::string& side) const {
  return sha256_hex(one_tokenizer_ ? "tokenizer" : side + " tokenizer");
}

void TinyLadder::capture() {
  const at::NoGradGuard no_gradients;
  const Decoder sender = Decoder::load(options.sender);
  const Decoder receiver = Decoder::load(options.receiver);
  DatasetIndex header{.layout = DatasetLayout::kLayers,
                      .created_by = "test",
                      .sender = {sender.geometry(), "", tokenizer("sender")},
                      .receiver = {receiver.geometry(), "", tokenizer("receiver")},
                      .num_sinks = 2};
  for (int64_t document = 0; document < 10; ++document) {
    header.documents.push_back(sha256_hex("document " + std::to_string(document)));
  }
  PairedDatasetWriter writer(recipe.dataset.folder, header,
                             {.num_sequences = 20, .sequences_per_shard = 7});
  for (int64_t sequence = 0; sequence < 20; ++sequence) {
    const TinyText tokens = text(sequence / 2);
    PairedSequence pair{.sender_SUd = streams(sender, tokens.sender.token_ids),
                        .receiver_RTD = streams(receiver, tokens.receiver.token_ids),
                        .token_ids = tokens.receiver.token_ids,
                        .document = tokens.document};
    if (!one_tokenizer_) {
      pair.sender_token_ids = tokens.sender.token_ids;
      pair.alignment = align_tokens(tokens.sender.ends, tokens.receiver.ends);
    }
    writer.add(pair);
  }
  writer.finish();
}

void TinyLadder::write_tokens() {
  const auto dataset = PairedDataset::open(recipe.dataset.folder);
  const Split split = split_by_sequence(*dataset, recipe.split);
  const auto& known = dataset->index().documents;
  std::vector<std::string> documents = {known[dataset->document(split.train.front())],
                                        known[dataset->document(split.test.front())]};
  for (const char* name : {"new 0", "new 1", "new 2"}) documents.push_back(sha256_hex(name));
  std::vector<TinyText> texts;
  std::vector<int64_t> ids;
  for (int64_t sequence = 0; sequence < 10; ++sequence) {
    texts.push_back(text(sequence / 2));
    ids.push_back(sequence / 2);
  }
  add_side(one_tokenizer_ ? "" : "receiver.", texts, &TinyText::receiver);
  if (!one_tokenizer_) add_side("sender.", texts, &TinyText::sender);
  tensors_.push_back({"document_ids", at::tensor(ids, at::kLong)});
  metadata_ = {
      {"schema", 1},
      {"created_by", "test"},
      {"tokenizers", {{"sender", tokenizer("sender")}, {"receiver", tokenizer("receiver")}}},
      {"documents", documents},
      {"source", nlohmann::json::object()}};
  edit_metadata([](nlohmann::json&) {});
}

void TinyLadder::add_side(const std::string& prefix, const std::vector<TinyText>& texts,
                          TinySide TinyText::*side) {
  std::vector<at::Tensor> ids, ends;
  std::vector<int64_t> offsets{0};
  for (const TinyText& text : texts) {
    ids.push_back((text.*side).token_ids);
    ends.push_back((text.*side).ends);
    offsets.push_back(offsets.back() + ids.back().size(0));
  }
  tensors_.push_back({prefix + "token_ids", at::cat(ids)});
  tensors_.push_back({prefix + "token_ends", at::cat(ends)});
  tensors_.push_back({prefix + "sequence_offsets", at::tensor(offsets, at::kLong)});
}

std::vector<std::string> names_of(const LadderReport& report) {
  std::vector<std::string> names;
  for (const LadderRow& row : report.rows) names.push_back(row.row);
  return names;
}

const LadderRow& row_of(const LadderReport& report, const std::string& name) {
  const auto found = std::find_if(report.rows.begin(), report.rows.end(),
                                  [&](const LadderRow& row) { return row.row == name; });
  if (found == report.rows.end()) throw std::runtime_error("no row " + name);
  return *found;
}

}  // namespace kvalign::testing
