// One text: the receiver reads it with the question once, which gives the row `text`, the true
// cache and the sinks; then the question is asked after every other row's cache. See task_text.h.
#include "task_text.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "answer_likelihood.h"
#include "row_caches.h"

namespace kvalign {
namespace {

AnswerLikelihoods ask(const Decoder& decoder, const at::Tensor& streams_RCD,
                      const at::Tensor& tokens, const TaskWords& words) {
  return answer_log_likelihoods(decoder, read_question(decoder, streams_RCD, tokens),
                                words.answers);
}

AnswerLikelihoods ask_sender(const TaskSetup& setup, const LadderText& text) {
  const at::Tensor read = text.sender_tokens.narrow(0, 0, text.sender_prefix - 1);
  return ask(setup.ladder->sender, {}, at::cat({read, setup.task.sender.question}),
             setup.task.sender);
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
  return {ask(setup.ladder->receiver, {}, task.receiver.question, task.receiver),
          ask(setup.ladder->sender, {}, task.sender.question, task.sender)};
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
  const DecoderOutput read = read_question(ladder.receiver, {}, tokens.receiver_tokens);
  RowCaches caches(ladder, senders, text, read.cache->slice(0, num_text_tokens));
  const auto answer = [&](const LadderRowPlan& plan) {
    if (plan.source == CacheSource::kText) {
      return answer_log_likelihoods(ladder.receiver, read, words.answers);
    }
    if (plan.source == CacheSource::kNone) return without.receiver;
    if (plan.source == CacheSource::kSenderAlone) return ask_sender(setup, tokens);
    return ask(ladder.receiver, caches.streams(plan), words.question, words);
  };
  std::vector<AnswerLikelihoods> rows;
  for (const LadderRowPlan& plan : plans) {
    rows.push_back(answer(plan));
    check_finite(rows.back(), plan.info.row, tokens.number);
  }
  return rows;
}

}  // namespace kvalign
