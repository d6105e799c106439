// The split of a dataset by document.
#include "kvalign/dataset/split.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "kvalign/core/random.h"
#include "kvalign/core/sha256.h"

namespace kvalign {
namespace {

using Documents = std::vector<std::vector<int64_t>>;  // the sequences of each

/// Documents in the order of their first sequence, then shuffled.
Documents shuffled_documents(const PairedDataset& dataset, int64_t seed) {
  std::map<int64_t, size_t> place_of_document;
  Documents documents;
  for (int64_t sequence = 0; sequence < dataset.num_sequences(); ++sequence) {
    const auto [found, is_new] =
        place_of_document.try_emplace(dataset.document(sequence), documents.size());
    if (is_new) documents.emplace_back();
    documents[found->second].push_back(sequence);
  }
  Documents shuffled;
  for (const int64_t i :
       shuffled_indices(static_cast<int64_t>(documents.size()), static_cast<uint64_t>(seed))) {
    shuffled.push_back(std::move(documents[static_cast<size_t>(i)]));
  }
  return shuffled;
}

/// Moves the documents of one part out of `documents`; see the header for the rule.
std::vector<int64_t> take_part(Documents& documents, int64_t target) {
  std::vector<int64_t> part;
  if (target == 0) return part;
  const auto move_to_part = [&](Documents::iterator document) {
    part.insert(part.end(), document->begin(), document->end());
    return documents.erase(document);
  };
  for (auto document = documents.begin(); document != documents.end();) {
    const int64_t missing = target - static_cast<int64_t>(part.size());
    const int64_t missing_after = missing - static_cast<int64_t>(document->size());
    document = std::abs(missing_after) < std::abs(missing) ? move_to_part(document) : document + 1;
  }
  if (part.empty()) {
    move_to_part(
        std::min_element(documents.begin(), documents.end(),
                         [](const auto& a, const auto& b) { return a.size() < b.size(); }));
  }
  std::sort(part.begin(), part.end());
  return part;
}

std::string hash(const PairedDataset& dataset, const Split& split) {
  std::string text = "kvalign split 1\ndataset " + dataset.sha256() + "\n";
  const auto append = [&](const char* name, const std::vector<int64_t>& sequences) {
    text += name;
    for (const int64_t sequence : sequences) text.append(" ").append(std::to_string(sequence));
    text += "\n";
  };
  append("train", split.train);
  append("validation", split.validation);
  append("test", split.test);
  return sha256_hex(text);
}

}  // namespace

void SplitOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "validation",
                 .help = "fraction of the sequences that choose when to stop",
                 .minimum = 0,
                 .maximum = 1,
                 .exclusive_maximum = true},
                validation);
  visitor.field({.name = "test",
                 .help = "fraction of the sequences that are only ever evaluated",
                 .minimum = 0,
                 .maximum = 1,
                 .exclusive_maximum = true},
                test);
  visitor.field({.name = "seed", .help = "of the shuffle of documents"}, seed);
}

Split split_by_sequence(const PairedDataset& dataset, const SplitOptions& options) {
  TORCH_CHECK(options.validation >= 0 && options.test >= 0 && options.validation + options.test < 1,
              "split: expected fractions of at least 0 that leave something to train on, got "
              "validation ",
              options.validation, " and test ", options.test, ".");
  Documents documents = shuffled_documents(dataset, options.seed);
  const int64_t num_parts = 1 + (options.validation > 0) + (options.test > 0);
  TORCH_CHECK(static_cast<int64_t>(documents.size()) >= num_parts,
              "split: ", dataset.folder().string(), ": expected at least ", num_parts,
              " documents, one for each part, got ", documents.size(),
              ". Capture more documents, or set a fraction to 0.");
  // At least one sequence, however small the fraction.
  const auto target = [&](double fraction) {
    if (fraction == 0) return int64_t{0};
    return std::max<int64_t>(1,
                             std::llround(fraction * static_cast<double>(dataset.num_sequences())));
  };
  Split split;
  split.validation = take_part(documents, target(options.validation));
  const bool test_is_left = options.test == 0 || documents.size() >= 2;
  if (test_is_left) split.test = take_part(documents, target(options.test));
  TORCH_CHECK(test_is_left && !documents.empty(), "split: ", dataset.folder().string(),
              ": documents are too large for validation ", options.validation, " and test ",
              options.test,
              ": nothing is left to train on. Use smaller fractions or capture more.");
  for (const auto& document : documents) {
    split.train.insert(split.train.end(), document.begin(), document.end());
  }
  std::sort(split.train.begin(), split.train.end());
  split.sha256 = hash(dataset, split);
  return split;
}

}  // namespace kvalign
