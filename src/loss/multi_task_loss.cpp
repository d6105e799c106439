// Builds the terms whose weight is not 0. A new term is a file with its class, and here its weight
// and one line.
#include "kvalign/loss/multi_task_loss.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "kvalign/core/options.h"
#include "kvalign/loss/attention_term.h"
#include "kvalign/loss/cosine_term.h"
#include "kvalign/loss/kl_term.h"
#include "kvalign/loss/mse_term.h"
#include "kvalign/loss/task_term.h"

namespace kvalign {
namespace {

TaskTarget task_target(const std::string& name) {
  TORCH_CHECK(name == "hard" || name == "soft",
              "MultiTaskLoss: expected task_target hard or soft, got '", name, "'");
  return name == "hard" ? TaskTarget::kHard : TaskTarget::kSoft;
}

}  // namespace

void LossOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "mse", .help = "weight of the mean squared error", .minimum = 0}, mse);
  visitor.field({.name = "cosine", .help = "weight of 1 - cosine similarity", .minimum = 0},
                cosine);
  visitor.field({.name = "task",
                 .help = "weight of the task head's cross-entropy; needs labels in the dataset",
                 .minimum = 0},
                task);
  visitor.field({.name = "task_target",
                 .help = "what the head's answer on the true cache is: its class or its softmax",
                 .one_of = {"hard", "soft"}},
                task_target);
  visitor.field(
      {.name = "attention",
       .help = "weight of the relative error of the receiver's attention outputs under its "
               "own queries; needs receiver",
       .minimum = 0},
      attention);
  visitor.field({.name = "kl",
                 .help = "weight of KL(receiver after its own cache || after the projected one); "
                         "needs receiver",
                 .minimum = 0},
                kl);
  visitor.field({"receiver", "Hugging Face folder of the frozen receiver"}, receiver);
  visitor.field({"continuation_tokens",
                 "attention and kl: the last tokens of a sequence, which the receiver predicts", 1},
                continuation_tokens);
  visitor.field({"reread", "attention and kl: tokens before them that it computes itself", 0},
                reread);
  visitor.section("task_head", "how the task head is fitted to true receiver caches", task_head);
}

MultiTaskLoss::MultiTaskLoss(const LossOptions& options, std::optional<TaskHead> task_head,
                             std::shared_ptr<const ReceiverReading> reading) {
  TORCH_CHECK(options.mse >= 0 && options.cosine >= 0 && options.task >= 0 &&
                  options.attention >= 0 && options.kl >= 0,
              "MultiTaskLoss: expected weights of at least 0, got mse ", options.mse, ", cosine ",
              options.cosine, ", task ", options.task, ", attention ", options.attention, ", kl ",
              options.kl);
  TORCH_CHECK(reading || (options.attention == 0 && options.kl == 0),
              "MultiTaskLoss: the weights attention ", options.attention, " and kl ", options.kl,
              " need the receiver, and there is none. Set loss.receiver");
  const auto add = [this](double weight, std::unique_ptr<LossTerm> term) {
    terms_.push_back({weight, std::move(term)});
  };
  if (options.mse > 0) {
    add(options.mse, std::make_unique<MseTerm>());
  }
  if (options.cosine > 0) {
    add(options.cosine, std::make_unique<CosineTerm>());
  }
  if (options.task > 0) {
    TORCH_CHECK(task_head.has_value(), "MultiTaskLoss: weight task is ", options.task,
                ", which needs a task head, and there is none. Does the dataset have labels? If "
                "not, set loss.task: 0.");
    add(options.task, std::make_unique<TaskTerm>(*task_head, task_target(options.task_target)));
  }
  if (options.attention > 0) {
    add(options.attention, std::make_unique<AttentionTerm>(reading));
  }
  if (options.kl > 0) {
    add(options.kl, std::make_unique<KlTerm>(reading));
  }
  TORCH_CHECK(!terms_.empty(), "MultiTaskLoss: expected a weight above 0, got none");
}

MultiTaskLoss::MultiTaskLoss(std::unique_ptr<LossTerm> term) {
  terms_.push_back({1.0, std::move(term)});
}

LossValue MultiTaskLoss::compute(const LossInput& input) const {
  TORCH_CHECK(input.predicted_RTD.sizes() == input.target_RTD.sizes(),
              "MultiTaskLoss::compute: expected predicted and target of one shape, got ",
              input.predicted_RTD.sizes(), " and ", input.target_RTD.sizes());
  LossInput same_type = input;
  same_type.predicted_RTD = input.predicted_RTD.to(input.target_RTD.scalar_type());
  const bool reads_products = std::any_of(terms_.begin(), terms_.end(), [](const auto& weighted) {
    return weighted.term->reads_products();
  });
  if (reads_products) same_type.products = products_of(same_type);
  LossValue value;
  for (const WeightedTerm& weighted : terms_) {
    const at::Tensor term = weighted.term->compute(same_type);
    const at::Tensor product = term * weighted.weight;
    value.total = value.total.defined() ? value.total + product : product;
    value.terms.emplace_back(weighted.term->name(), term.detach());
  }
  return value;
}

std::vector<std::string> MultiTaskLoss::term_names() const {
  std::vector<std::string> names;
  for (const WeightedTerm& weighted : terms_) {
    names.push_back(weighted.term->name());
  }
  return names;
}

}  // namespace kvalign
