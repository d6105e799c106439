// Writes the task file of a tiny ladder. See tiny_task.h.
#include "tests/evaluate/tiny_task.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>

#include "kvalign/core/sha256.h"
#include "kvalign/dataset/paired_dataset.h"
#include "kvalign/dataset/split.h"

namespace kvalign::testing {
namespace {

// Sides of one task file, in the making.
struct PackedTexts {
  std::vector<at::Tensor> ids, ends;
  std::vector<int64_t> offsets{0};

  void add(const TinySide& side) {
    ids.push_back(side.token_ids);
    ends.push_back(side.ends);
    offsets.push_back(offsets.back() + side.token_ids.size(0));
  }
};

void add_tiny_side(const std::string& prefix, const PackedTexts& texts, Random& random,
                   std::vector<NamedTensor>& tensors) {
  tensors.push_back({prefix + "token_ids", at::cat(texts.ids)});
  tensors.push_back({prefix + "token_ends", at::cat(texts.ends)});
  tensors.push_back({prefix + "sequence_offsets", at::tensor(texts.offsets, at::kLong)});
  tensors.push_back({prefix + "question.token_ids", tiny_side(4, 4, random).token_ids});
  tensors.push_back({prefix + "answers.token_ids", tiny_side(6, 6, random).token_ids});
  tensors.push_back(
      {prefix + "answers.offsets", at::tensor(std::vector<int64_t>{0, 1, 4, 6}, at::kLong)});
}

}  // namespace

TinyTask::TinyTask(const std::string& sender, const std::string& receiver, bool one_tokenizer)
    : ladder(sender, receiver, one_tokenizer) {
  options.file = ladder.folder.file("task.safetensors");
  ladder.evaluate.baselines = {};
  write_task(one_tokenizer);
}

void TinyTask::write_task(bool one_tokenizer) {
  const auto dataset = PairedDataset::open(ladder.recipe.dataset.folder);
  const Split split = split_by_sequence(*dataset, ladder.recipe.split);
  Random random(5);
  PackedTexts sent, received;
  std::vector<int64_t> documents, labels;
  std::vector<std::string> hashes;
  for (int64_t text = 0; text < kTexts; ++text) {
    const bool is_short = text == kTexts - 1;
    const int64_t bytes = 40, tokens = is_short ? 2 : 9 + text;
    received.add(tiny_side(tokens, bytes, random));
    if (!one_tokenizer) sent.add(tiny_side(tokens + 3, bytes, random));
    documents.push_back(text);
    labels.push_back(text % kClasses);
    hashes.push_back(text == 0 ? dataset->index().documents[dataset->document(split.train.front())]
                               : sha256_hex("text " + std::to_string(text)));
  }
  std::vector<NamedTensor> tensors;
  add_tiny_side(one_tokenizer ? "" : "receiver.", received, random, tensors);
  if (!one_tokenizer) add_tiny_side("sender.", sent, random, tensors);
  tensors.push_back({"document_ids", at::tensor(documents, at::kLong)});
  tensors.push_back({"labels", at::tensor(labels, at::kLong)});
  const DatasetIndex& index = dataset->index();
  const nlohmann::json metadata = {
      {"schema", 1},
      {"created_by", "test"},
      {"tokenizers",
       {{"sender", index.sender.tokenizer_sha256}, {"receiver", index.receiver.tokenizer_sha256}}},
      {"documents", hashes},
      {"task",
       {{"question", "\nWhich?"},
        {"classes", {"a", "b", "c"}},
        {"answers", {" a", " b, I think", " c, or"}},
        {"train_label_counts", {2, 5, 3}}}}};
  write_safetensors(options.file, tensors, {{"kvalign", metadata.dump()}});
}

const TaskSuccessRow& row_of(const TaskSuccessReport& report, const std::string& name) {
  const auto found = std::find_if(report.rows.begin(), report.rows.end(),
                                  [&](const TaskSuccessRow& row) { return row.row == name; });
  if (found == report.rows.end()) throw std::runtime_error("no row " + name);
  return *found;
}

}  // namespace kvalign::testing
