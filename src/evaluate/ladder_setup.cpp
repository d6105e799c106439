// Opens what a ladder reads, and refuses what does not belong together. See ladder_setup.h.
#include "ladder_setup.h"

#include <ATen/ATen.h>
#include <c10/util/StringUtil.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "kvalign/core/device.h"
#include "kvalign/core/geometry_json.h"
#include "kvalign/core/sha256.h"
#include "passes.h"

namespace kvalign {
namespace {

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw std::runtime_error(c10::str("ladder: ", parts...));
}

void check_dataset(const PairedDataset& dataset) {
  const std::string folder = dataset.folder().string();
  if (dataset.index().layout == DatasetLayout::kFlat) {
    refuse(folder,
           " holds flat caches, which no decoder can continue from. Expected a dataset with layers "
           "(kvalign capture).");
  }
  if (dataset.index().documents.empty()) {
    refuse(
        folder,
        "/index.json has no 'documents', the SHA-256 of each document, so that it cannot be told "
        "which texts the fit has seen. Capture it again with this version.");
  }
}

void check_tokenizer(const TokenSide& tokens, const DatasetSide& side, const char* name,
                     const std::string& path) {
  if (tokens.tokenizer_sha256 == side.tokenizer_sha256) return;
  refuse(path, ": its ", name, " tokens are of another tokenizer (SHA-256 ",
         tokens.tokenizer_sha256, ") than the dataset's (", side.tokenizer_sha256,
         "). Tokenise the text with the tokenizer of ", side.geometry.model, ".");
}

void check_decoder(const Decoder& decoder, const DatasetSide& side, const char* name) {
  const std::string differences = geometry_differences(side.geometry, decoder.geometry());
  if (differences.empty()) return;
  refuse("the ", name, " ", decoder.folder().string(), " is not the model of the dataset (",
         side.geometry.model, "): ", differences, ". Give ladder.", name,
         " the folder that was captured.");
}

void choose_texts(LadderSetup& setup, const TokenFile& tokens) {
  const std::set<std::string> seen = setup.seen_documents();
  std::set<int64_t> documents;
  for (int64_t sequence = 0; sequence < tokens.num_sequences(); ++sequence) {
    const int64_t wanted = setup.options.sequences;
    if (wanted > 0 && static_cast<int64_t>(setup.texts.size()) == wanted) break;
    if (seen.count(tokens.document_sha256.at(tokens.documents[sequence])) > 0) {
      ++setup.left_out_seen;
      continue;
    }
    std::optional<LadderText> text = cut_text(tokens, sequence, setup.options);
    if (!text) {
      ++setup.left_out_short;
      continue;
    }
    documents.insert(text->document);
    setup.texts.push_back(std::move(*text));
  }
  if (documents.size() >= 2) return;
  refuse(tokens.path, ": expected held-out sequences of at least 2 documents, got ",
         setup.texts.size(), " sequences of ", documents.size(), "; ", setup.left_out_seen,
         " are of documents that training or validation has seen, ", setup.left_out_short,
         " have fewer than prefix_tokens + continuation_tokens = ",
         setup.options.prefix_tokens + setup.options.continuation_tokens,
         " tokens. Tokenise other documents.");
}

}  // namespace

size_t LadderSetup::other_document(size_t text) const {
  for (size_t before = text; before-- > 0;) {
    if (texts[before].document != texts[text].document) return before;
  }
  size_t after = text + 1;
  while (texts[after].document == texts[text].document) ++after;
  return after;
}

std::string geometry_differences(const KvGeometry& expected, const KvGeometry& got) {
  // The flattened JSON has one entry a field: "/rope/theta".
  const auto fields = [](const KvGeometry& geometry) {
    nlohmann::json json = to_json(geometry);
    json.erase("model");
    return json.flatten();
  };
  const nlohmann::json wanted = fields(expected), came = fields(got);
  std::set<std::string> names;
  for (const auto& item : wanted.items()) names.insert(item.key());
  for (const auto& item : came.items()) names.insert(item.key());
  std::string text;
  for (const std::string& name : names) {
    const auto value = [&](const nlohmann::json& json) {
      return json.contains(name) ? json[name].dump() : std::string("nothing");
    };
    if (value(wanted) == value(came)) continue;
    std::string field = name.substr(1);
    std::replace(field.begin(), field.end(), '/', '.');
    text += (text.empty() ? "" : ", ") + field + " " + value(came) + " instead of " + value(wanted);
  }
  return text;
}

std::set<std::string> LadderSetup::seen_documents() const {
  std::set<std::string> seen;
  for (const auto* part : {&split.train, &split.validation}) {
    for (const int64_t sequence : *part) {
      seen.insert(dataset->index().documents.at(dataset->document(sequence)));
    }
  }
  return seen;
}

std::vector<Row> load_projectors(LadderSetup& setup, const EvaluateProgress& progress) {
  if (setup.evaluate.checkpoints.empty()) {
    throw std::invalid_argument(
        "ladder: expected at least one checkpoint, got none. Give --checkpoint or run_folder.");
  }
  const int64_t skip = num_skipped_tokens(setup.recipe.dataset, *setup.dataset);
  const RowContext context{*setup.dataset, setup.split.sha256, skip, setup.device};
  std::vector<std::string> said_by_reconstruction;
  std::vector<AbsentRow> absent;
  std::vector<Row> rows = checkpoint_rows(setup.evaluate, context, said_by_reconstruction);
  for (Row& row : baseline_rows(setup.evaluate, context, absent)) rows.push_back(std::move(row));
  const auto& baselines = setup.evaluate.baselines;
  if (std::find(baselines.begin(), baselines.end(), "mean") != baselines.end()) {
    const PassContext pass{setup.dataset, skip, setup.evaluate.batch_tokens, setup.device,
                           progress};
    const TrainingPass training = read_training_split(pass, setup.split.train);
    rows.push_back(mean_row(training.mean_RD.to(setup.device),
                            static_cast<int64_t>(setup.split.train.size())));
  }
  for (Row& row : rows) {
    if (!row.compress || setup.one_tokenizer) continue;
    setup.warnings.push_back(row.name +
                             " has no row to the sender: the receiver's tokens are not the "
                             "sender's, which a way back would have to be aligned with.");
    row.compress = nullptr;
  }
  if (setup.options.sinks < skip) {
    setup.warnings.push_back(c10::str("The first ", skip,
                                      " tokens were left out of every fit, but "
                                      "rows with exact sinks project tokens from the ",
                                      setup.options.sinks, "th on."));
  }
  return rows;
}

std::unique_ptr<LadderSetup> open_ladder_setup(const Recipe& recipe,
                                               const EvaluateOptions& evaluate,
                                               const LadderOptions& options,
                                               const TokenFile& tokens) {
  const at::Device device = resolve_device(recipe.device);
  const auto dataset = open_dataset(recipe.dataset);
  check_dataset(*dataset);
  check_tokenizer(tokens.sender, dataset->index().sender, "sender", tokens.path);
  check_tokenizer(tokens.receiver, dataset->index().receiver, "receiver", tokens.path);
  auto setup = std::unique_ptr<LadderSetup>(
      new LadderSetup{.recipe = recipe,
                      .evaluate = evaluate,
                      .options = options,
                      .device = device,
                      .dataset = dataset,
                      .split = split_by_sequence(*dataset, recipe.split),
                      .alignment = alignment_reading(recipe.dataset.alignment),
                      .sender = Decoder::load(options.sender, device),
                      .receiver = Decoder::load(options.receiver, device),
                      .one_tokenizer = tokens.one_tokenizer,
                      .tokens_sha256 = sha256_of_file(tokens.path)});
  check_decoder(setup->sender, dataset->index().sender, "sender");
  check_decoder(setup->receiver, dataset->index().receiver, "receiver");
  return setup;
}

std::unique_ptr<const LadderSetup> set_up_ladder(const Recipe& recipe,
                                                 const EvaluateOptions& evaluate,
                                                 const LadderOptions& options,
                                                 const EvaluateProgress& progress) {
  check_ladder_options(options);
  const TokenFile tokens = read_token_file(options.tokens);
  auto setup = open_ladder_setup(recipe, evaluate, options, tokens);
  choose_texts(*setup, tokens);
  setup->projectors = load_projectors(*setup, progress);
  return setup;
}

}  // namespace kvalign
