// One text: the receiver reads it with the question once, which gives the row `text`, the true
// cache and the sinks; then the question is asked after every other row's cache. See task_text.h.
#include "task_text.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "answer_likelihood.h"
#include "row_caches.h"

namespace kvalign {
namespace {

// After no cache.
AnswerLikelihoods ask(const Decoder& decoder, const at::Tensor& tokens, const TaskWords& words) {
  AnswerLikelihoods likelihoods;
  read_questions(decoder, {{.tokens_I = tokens}}, [&](size_t, const QuestionRead& read) {
    likelihoods = answer_log_likelihoods(decoder, read, words.answers);
  });
  return likelihoods;
}

AnswerLikelihoods ask_sender(const TaskSetup& setup, const LadderText& text) {
  const at::Tensor read = text.sender_tokens.narrow(0, 0, text.sender_prefix - 1);
  return ask(setup.ladder->sender, at::cat({read, setup.task.sender.question}), setup.task.sender);
}

void check_finite(const AnswerLikelihoods& likelihoods, const std::string& row, int64_t text) {
  TORCH_CHECK(std::all_of(likelihoods.begin(), likelihoods.end(),
                          [](double v) { return std::isfinite(v); }),
              "task: the row '", row, "' answers with likelihoods that are not finite on text ",
              text, ". Does its cache fit the type of ladder.wire?");
}

}  // namespace

AnswersWithoutText answers_without_text(const TaskSetup& setup) {
  const at::NoGradGuard no_gradients;
  const TaskFile& task = setup.task;
  return {ask(setup.ladder->receiver, task.receiver.question, task.receiver),
          ask(setup.ladder->sender, task.sender.question, task.sender)};
}

std::vector<AnswerLikelihoods> ask_about_text(const TaskSetup& setup,
                                              const std::vector<LadderRowPlan>& plans,
                                              const AnswersWithoutText& without,
                                              SenderCaches& senders, size_t text) {
  const at::NoGradGuard no_gradients;
  const LadderSetup& ladder = *setup.ladder;
  const TaskWords& words = setup.task.receiver;
  const LadderText& tokens = ladder.texts[text];
  const int64_t num_text_tokens = tokens.receiver_tokens.size(0) - words.question.size(0);
  std::vector<AnswerLikelihoods> rows(plans.size());
  const auto answer = [&](size_t row, const QuestionRead& read) {
    rows[row] = answer_log_likelihoods(ladder.receiver, read, words.answers);
  };
  std::optional<QuestionRead> whole;
  read_questions(ladder.receiver, {{.tokens_I = tokens.receiver_tokens}},
                 [&](size_t, const QuestionRead& read) { whole = read; });
  RowCaches caches(ladder, senders, text, whole->cache.slice(0, num_text_tokens));
  std::vector<CachedRun> runs;
  for (size_t row = 0; row < plans.size(); ++row) {
    switch (plans[row].source) {
      case CacheSource::kText:
        answer(row, *whole);
        break;
      case CacheSource::kNone:
        rows[row] = without.receiver;
        break;
      case CacheSource::kSenderAlone:
        rows[row] = ask_sender(setup, tokens);
        break;
      default:
        runs.push_back({row, caches.streams(plans[row]), words.question});
    }
  }
  read_questions(ladder.receiver, runs, answer);
  for (size_t row = 0; row < plans.size(); ++row) {
    check_finite(rows[row], plans[row].info.row, tokens.number);
  }
  return rows;
}

}  // namespace kvalign
