// All rows of a task on one text. Private to evaluate/.
#pragma once

#include <vector>

#include "sender_caches.h"
#include "task_setup.h"
#include "task_store.h"

namespace kvalign {

// Likelihoods of the answers to the question alone, without any text.
struct AnswersWithoutText {
  AnswerLikelihoods receiver = {}, sender = {};
};

AnswersWithoutText answers_without_text(const TaskSetup& setup);

// Likelihoods in the order of `plans`. Throws c10::Error naming the row for one that is not finite.
std::vector<AnswerLikelihoods> ask_about_text(const TaskSetup& setup,
                                              const std::vector<LadderRowPlan>& plans,
                                              const AnswersWithoutText& without,
                                              SenderCaches& senders, size_t text);

}  // namespace kvalign
