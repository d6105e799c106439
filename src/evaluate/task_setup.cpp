// Opens what task success reads. See task_setup.h.
#include "task_setup.h"

#include <ATen/ATen.h>
#include <c10/util/StringUtil.h>

#include <algorithm>
#include <stdexcept>

#include "text_classifiers.h"

namespace kvalign {
namespace {

constexpr int64_t kShortestText = 3;  // with a question: what the identity gate can cut in two

// Of the ladder's rows those with exact sinks and nothing re-read: the first row of each kind.
LadderOptions task_rows_of(LadderOptions options) {
  options.reread = {0};
  options.grid = "short";
  return options;
}

const char* describe_row(CacheSource source) {
  switch (source) {
    case CacheSource::kText:
      return "the receiver reads text and question";
    case CacheSource::kStart:
      return "the receiver sees the first tokens and the question";
    case CacheSource::kNone:
      return "the receiver sees the question alone";
    case CacheSource::kSenderAlone:
      return "the sender reads text and question";
    default:
      return nullptr;
  }
}

std::vector<LadderRowPlan> plan_task_rows(const LadderSetup& setup) {
  std::vector<LadderRowPlan> plans = plan_ladder_rows(setup.options, setup.projectors);
  const int64_t sinks = setup.options.sinks;
  std::erase_if(plans, [&](const LadderRowPlan& plan) {
    const bool is_answered_from_receivers_cache =  // the receiver has read the text
        is_compressed(plan.source) || plan.source == CacheSource::kSenderNoCache;
    return is_answered_from_receivers_cache ||
           (is_projected(plan.source) && plan.info.sinks != sinks);
  });
  for (LadderRowPlan& plan : plans) {
    if (const char* text = describe_row(plan.source)) plan.info.text = text;
  }
  return plans;
}

LadderText cut_task_text(const TaskFile& task, int64_t number) {
  const TokenFile& texts = task.texts;
  const TokenSequence receiver = texts.receiver.sequence(number);
  const TokenSequence sender = texts.sender.sequence(number);
  const at::Tensor receiver_ids = receiver.token_ids.to(at::kLong);
  return {.number = number,
          .document = texts.documents[number],
          .receiver_tokens = at::cat({receiver_ids, task.receiver.question}),
          .receiver_ends = whole_numbers(receiver.ends),
          .sender_tokens =
              at::cat({sender.token_ids.to(at::kLong), task.sender.question.narrow(0, 0, 1)}),
          .sender_prefix = sender.token_ids.size(0) + 1,
          .alignment_T = texts.alignment(number)};
}

int64_t num_text_tokens(const TokenSide& side, int64_t number) {
  return side.sequence(number).token_ids.size(0);
}

void choose_task_texts(LadderSetup& setup, const TaskFile& task, int64_t wanted) {
  const std::set<std::string> seen = setup.seen_documents();
  const TokenFile& texts = task.texts;
  const int64_t shortest = std::max(setup.options.sinks + 1, kShortestText);
  for (int64_t number = 0; number < texts.num_sequences(); ++number) {
    if (wanted > 0 && static_cast<int64_t>(setup.texts.size()) == wanted) break;
    if (seen.count(texts.document_sha256.at(texts.documents[number])) > 0) {
      ++setup.left_out_seen;
    } else if (num_text_tokens(texts.receiver, number) < shortest ||
               num_text_tokens(texts.sender, number) < kShortestText) {
      ++setup.left_out_short;
    } else {
      setup.texts.push_back(cut_task_text(task, number));
    }
  }
  std::set<int64_t> documents;
  for (const LadderText& text : setup.texts) documents.insert(text.document);
  if (documents.size() >= 2) return;
  throw std::runtime_error(c10::str(
      "task: ", texts.path, ": expected at least 2 held-out texts, got ", documents.size(), "; ",
      setup.left_out_seen, " are texts that training or validation has seen, ",
      setup.left_out_short, " have fewer than ", shortest, " tokens. Hold out other texts."));
}

// Whether the tokens that the receiver computes itself are not the same for all texts.
bool do_sinks_show_text(const LadderSetup& setup) {
  const int64_t sinks = setup.options.sinks;
  const at::Tensor first = setup.texts.front().receiver_tokens.narrow(0, 0, sinks);
  return std::any_of(setup.texts.begin(), setup.texts.end(), [&](const LadderText& text) {
    return !text.receiver_tokens.narrow(0, 0, sinks).equal(first);
  });
}

}  // namespace

std::unique_ptr<const TaskSetup> set_up_task(const Recipe& recipe, const EvaluateOptions& evaluate,
                                             const LadderOptions& ladder,
                                             const TaskSuccessOptions& options,
                                             const EvaluateProgress& progress) {
  if (ladder.sender.empty() || ladder.receiver.empty() || options.file.empty()) {
    throw std::invalid_argument(
        "task: expected ladder.sender and ladder.receiver (Hugging Face folders) and task.file (a "
        "task file), got '" +
        ladder.sender + "', '" + ladder.receiver + "' and '" + options.file + "'");
  }
  auto setup = std::unique_ptr<TaskSetup>(
      new TaskSetup{.options = options, .task = read_task_file(options.file)});
  const TaskFile& task = setup->task;
  auto models = open_ladder_setup(recipe, evaluate, task_rows_of(ladder), task.texts);
  choose_task_texts(*models, task, options.texts);
  setup->sinks_show_text = do_sinks_show_text(*models);
  setup->text_classifiers =
      read_text_classifiers(options.text_classifiers, *models, task.num_classes());
  models->projectors = load_projectors(*models, progress);
  setup->plans = plan_task_rows(*models);
  setup->ladder = std::move(models);
  return setup;
}

}  // namespace kvalign
