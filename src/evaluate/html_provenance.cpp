// What it all means, where the numbers come from, and the words. See html_sections.h.
#include <nlohmann/json.hpp>

#include "html_page.h"
#include "html_sections.h"

namespace kvalign {
namespace {

using nlohmann::json;

std::vector<std::string> all_warnings(const json& report) {
  std::vector<std::string> warnings = report.at("warnings");
  if (report.contains("ladder_data")) {
    for (const json& warning : report.at("ladder_data").at("warnings")) warnings.push_back(warning);
  }
  return warnings;
}

std::string identity_list(const json& data) {
  std::vector<std::string> texts;
  for (const json& gate : data.at("identity")) {
    texts.push_back((gate.at("passed").get<bool>() ? "Passed: " : "FAILED: ") +
                    gate.at("why").get<std::string>());
  }
  return texts.empty() ? "" : html_details("Identity gates", html_list(texts));
}

std::string data_list(const json& report) {
  const json& data = report.at("dataset");
  std::vector<std::string> texts{
      "Data: " + cell_of(data, "folder") + ", made by " + cell_of(data, "created_by") +
          ", SHA-256 " + cell_of(data, "sha256"),
      "Split: SHA-256 " + cell_of(data, "split_sha256") + "; " + cell_of(data, "train_sequences") +
          " sequences trained on, " + cell_of(data, "test_sequences") + " held out, of " +
          cell_of(data, "test_documents") + " documents with " + cell_of(data, "test_tokens") +
          " tokens; the first " + cell_of(data, "skip_first_tokens") +
          " of each sequence are left out"};
  if (report.contains("ladder_data")) {
    const json& ladder = report.at("ladder_data");
    texts.push_back("Tokens of the ladder: " + cell_of(ladder, "tokens") + ", SHA-256 " +
                    cell_of(ladder, "tokens_sha256") +
                    "; left out: " + cell_of(ladder, "left_out_seen") +
                    " sequences of documents that the fit has "
                    "seen, " +
                    cell_of(ladder, "left_out_short") + " with too few tokens");
  }
  return html_list(texts);
}

// Keys and values of a flat object.
std::string settings_list(const json& object) {
  std::vector<std::string> texts;
  for (const auto& [key, value] : object.items()) texts.push_back(key + ": " + cell_of(value));
  return html_list(texts);
}

std::string kind_sentence(NumberKind kind, const std::string& text) {
  return "<li>" + html_badge(kind) + " " + text + "</li>\n";
}

constexpr const char* kDefinitions[] = {
    "nll: negative log-likelihood of the true next token, mean over tokens, in nats; ppl is its "
    "exponential, top-1 the share of tokens that were the most probable one.",
    "retention: (floor - x) / (floor - true cache) of the nll. 1 is the true cache, 0 the floor: "
    "the best row at the same re-read that carries nothing of this context. Of rows to the sender "
    "1 "
    "is the sender alone, 0 the best that carries nothing of this context to it.",
    "sinks: the first tokens of a sequence, which the receiver computes itself; re-read: the last "
    "tokens of the prefix that it computes itself.",
    "KL: of the row's prediction from the true cache's, nats a token.",
    "MSE: sum |y - p|² / (tokens x width), with y a true vector of the receiver and p the "
    "projected one, over the held-out tokens of a stream.",
    "relative error: sqrt(sum |y - p|² / sum |y|²).",
    "cosine: mean over tokens of the cosine of y and p.",
    "R²: 1 - sum |y - p|² / sum |y - m|², m the mean of y over the held-out tokens; 0 is as good "
    "as that mean, 1 is perfect.",
    "balanced accuracy: mean over the classes of the share of it that is found; macro-F1: mean "
    "over "
    "the classes of 2 hits / (times it is true + times it is said).",
    "bound: what distortion cannot exceed, whatever the data; vacuous where it is at least the "
    "norm of what it bounds.",
    "95 % interval: percentile bootstrap over held-out documents."};

}  // namespace

std::string summary_section(const json& report) {
  std::string markup;
  if (report.contains("gate")) {
    const bool passed = report.at("gate").at("passed");
    markup += html_verdict(passed, passed ? "The gate is met" : "The gate is NOT met",
                           report.at("ladder_data").at("conclusion"));
    markup += identity_list(report.at("ladder_data"));
  }
  const std::vector<std::string> warnings = all_warnings(report);
  if (!warnings.empty()) markup += html_heading("Warnings") + html_list(warnings);
  return markup;
}

std::string provenance_section(const json& report) {
  return html_section(
      "Data, machine, recipe",
      html_details("Data", data_list(report)) +
          html_details("Machine", settings_list(report.at("machine"))) +
          html_details("Recipe", html_preformatted(report.at("recipe").dump(2))) +
          html_details("Evaluation", html_preformatted(report.at("evaluate").dump(2))));
}

std::string definitions_section() {
  std::string kinds =
      "<ul>\n" + kind_sentence(NumberKind::kMeasured, "what these data gave") +
      kind_sentence(NumberKind::kCertified, "an upper bound that is proved, for these tokens") +
      kind_sentence(
          NumberKind::kStatistical,
          "holds for data like these with the confidence that is stated, 95 % by default") +
      kind_sentence(NumberKind::kEstimate, "from a model, not from a run") + "</ul>\n";
  return html_section("Definitions",
                      kinds + html_list({std::begin(kDefinitions), std::end(kDefinitions)}));
}

}  // namespace kvalign
