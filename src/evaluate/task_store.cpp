// Lines of task.jsonl. See task_store.h.
#include "task_store.h"

#include <nlohmann/json.hpp>

namespace kvalign {

TaskStore::TaskStore(const std::string& folder, const std::string& hash)
    : lines_(folder, "task.jsonl", {{"task", hash}},
             [this](const nlohmann::json& line) { read(line); }) {}

void TaskStore::read(const nlohmann::json& line) {
  auto& rows = texts_[line.at("text")];
  for (const auto& item : line.at("rows").items()) {
    rows.insert_or_assign(item.key(), item.value().get<AnswerLikelihoods>());
  }
}

std::vector<size_t> TaskStore::missing(int64_t text, const std::vector<std::string>& keys) const {
  const auto found = texts_.find(text);
  std::vector<size_t> places;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (found == texts_.end() || !found->second.contains(keys[i])) places.push_back(i);
  }
  return places;
}

std::vector<AnswerLikelihoods> TaskStore::likelihoods(int64_t text,
                                                      const std::vector<std::string>& keys) const {
  std::vector<AnswerLikelihoods> rows;
  for (const std::string& key : keys) rows.push_back(texts_.at(text).at(key));
  return rows;
}

void TaskStore::add(int64_t text, const std::vector<std::string>& keys,
                    const std::vector<AnswerLikelihoods>& rows) {
  nlohmann::json by_key = nlohmann::json::object();
  for (size_t i = 0; i < keys.size(); ++i) by_key[keys[i]] = rows[i];
  const nlohmann::json line = {{"text", text}, {"rows", std::move(by_key)}};
  lines_.append(line);
  read(line);
}

}  // namespace kvalign
