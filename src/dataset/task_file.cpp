// Reads and checks a task file. See task_file.h.
#include "kvalign/dataset/task_file.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "strict_json.h"
#include "token_file_reader.h"

namespace kvalign {
namespace {

// The texts of a list, any number of them.
std::vector<std::string> texts_of(const StrictObject& object, const std::string& key) {
  const nlohmann::json& list = object.at(key);
  const bool are_texts = list.is_array() && std::all_of(list.begin(), list.end(), [](auto& item) {
                           return item.is_string();
                         });
  if (!are_texts) {
    refuse(object.path(key), "expected a list of texts, got " + short_text(list) + ".");
  }
  return list.get<std::vector<std::string>>();
}

std::vector<int64_t> counts_of(const StrictObject& object, const std::string& key) {
  const nlohmann::json& list = object.at(key);
  const bool are_counts = list.is_array() && std::all_of(list.begin(), list.end(), [](auto& item) {
                            return item.is_number_unsigned();
                          });
  if (!are_counts) {
    refuse(object.path(key),
           "expected a list of whole numbers from 0, got " + short_text(list) + ".");
  }
  return list.get<std::vector<int64_t>>();
}

// As many entries as there are classes.
template <class Entry>
void check_length(const std::vector<Entry>& entries, size_t num_classes, const std::string& where) {
  if (entries.size() == num_classes) return;
  refuse(where, "expected one entry for each of " + std::to_string(num_classes) + " classes, got " +
                    std::to_string(entries.size()) + ".");
}

void read_classes(TaskFile& task, const TokenFileReader& reader) {
  const StrictObject object(reader.value(), reader.value_name(),
                            {"question", "classes", "answers", "train_label_counts"});
  task.question = object.string("question");
  task.classes = texts_of(object, "classes");
  if (task.classes.size() < 2) {
    refuse(object.path("classes"),
           "expected at least 2 classes, got " + std::to_string(task.classes.size()) + ".");
  }
  task.answers = texts_of(object, "answers");
  check_length(task.answers, task.classes.size(), object.path("answers"));
  task.train_label_counts = counts_of(object, "train_label_counts");
  check_length(task.train_label_counts, task.classes.size(), object.path("train_label_counts"));
}

TaskWords read_words(TokenFileReader& reader, const std::string& prefix, int64_t num_classes) {
  TaskWords words{.question = reader.ids(prefix + "question.token_ids").to(at::kLong)};
  TORCH_CHECK(words.question.numel() > 0, reader.where(prefix + "question.token_ids"),
              "expected at least one token, got none.");
  const at::Tensor ids = reader.ids(prefix + "answers.token_ids").to(at::kLong);
  const std::string name = prefix + "answers.offsets";
  const std::vector<int64_t> offsets = reader.offsets(name, ids.size(0));
  const auto num_answers = static_cast<int64_t>(offsets.size()) - 1;
  TORCH_CHECK(num_answers == num_classes, reader.where(name), "expected an answer for each of ",
              num_classes, " classes, got ", num_answers, ".");
  for (int64_t k = 0; k < num_answers; ++k) {
    words.answers.push_back(ids.narrow(0, offsets[k], offsets[k + 1] - offsets[k]));
  }
  return words;
}

void check_labels(const TaskFile& task, const TokenFileReader& reader) {
  const std::string where = reader.where("labels");
  TORCH_CHECK(!task.texts.labels.empty(), where,
              "missing tensor; expected the class of each text.");
  const int64_t largest = *std::max_element(task.texts.labels.begin(), task.texts.labels.end());
  TORCH_CHECK(largest < task.num_classes(), where, "expected classes from 0 to ",
              task.num_classes() - 1, ", got ", largest, ".");
}

}  // namespace

TaskFile read_task_file(const std::filesystem::path& path) {
  TokenFileReader reader(path, "scripts/task_file.py", "task");
  TaskFile task{.texts = reader.read()};
  read_classes(task, reader);
  const bool one = task.texts.one_tokenizer;
  task.sender = read_words(reader, one ? "" : "sender.", task.num_classes());
  task.receiver = one ? task.sender : read_words(reader, "receiver.", task.num_classes());
  check_labels(task, reader);
  reader.check_nothing_else();
  return task;
}

TokenFile read_task_texts_or_token_file(const std::filesystem::path& path) {
  const SafetensorsFile file = SafetensorsFile::open(path.string());
  const bool has_answers =
      file.contains("answers.offsets") || file.contains("receiver.answers.offsets");
  return has_answers ? read_task_file(path).texts : read_token_file(path);
}

}  // namespace kvalign
