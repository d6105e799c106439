// Reads and checks the JSON of text classifiers. See text_classifiers.h.
#include "text_classifiers.h"

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kvalign/core/files.h"

namespace kvalign {
namespace {

TaskAnswers answers_of(const nlohmann::json& classifier, const LadderSetup& setup,
                       int64_t num_classes) {
  const std::vector<int64_t> answers = classifier.at("answers");
  TaskAnswers result{.row = classifier.at("row"), .text = classifier.at("text")};
  for (const LadderText& text : setup.texts) {
    if (text.number >= static_cast<int64_t>(answers.size())) {
      throw std::runtime_error("expected an answer to each text of the task file, got " +
                               std::to_string(answers.size()));
    }
    const int64_t answer = answers[text.number];
    if (answer < 0 || answer >= num_classes) {
      throw std::runtime_error("expected answers from 0 to " + std::to_string(num_classes - 1) +
                               ", got " + std::to_string(answer));
    }
    result.classes.push_back(answer);
  }
  return result;
}

}  // namespace

std::vector<TaskAnswers> read_text_classifiers(const std::string& path, const LadderSetup& setup,
                                               int64_t num_classes) {
  if (path.empty()) return {};
  const std::string text = read_file(path);
  try {
    const auto json = nlohmann::json::parse(text);
    if (json.at("task_sha256") != setup.tokens_sha256) {
      throw std::runtime_error("it is about another task file (SHA-256 " +
                               json.at("task_sha256").get<std::string>() +
                               ") than the one given (" + setup.tokens_sha256 + ")");
    }
    std::vector<TaskAnswers> result;
    for (const nlohmann::json& classifier : json.at("classifiers")) {
      result.push_back(answers_of(classifier, setup, num_classes));
    }
    return result;
  } catch (const std::exception& error) {  // of the JSON library or of the checks above
    throw std::runtime_error("task.text_classifiers: " + path + ": " + error.what() +
                             ". Make it with scripts/task_baselines.py from this task file.");
  }
}

}  // namespace kvalign
