// The task head's fit: it solves a problem that it can solve, says so on held-out data, and
// repeats.
#include "kvalign/loss/task_head.h"

#include <ATen/ATen.h>

#include "kvalign/core/options.h"
#include "kvalign/loss/pooling.h"
#include "tests/support/golden_fill.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

using testing::golden_fill;

// 3 classes as argmax of a linear map of 6 features; feature 0 sits far from 0, feature 5 is
// constant.
TaskHeadData make_data(int64_t num_sequences, uint64_t seed) {
  at::Tensor pooled = golden_fill({num_sequences, 6}, seed, 1.0);
  pooled.select(1, 5).fill_(0.0);
  const at::Tensor labels = at::mm(pooled, golden_fill({6, 3}, 99, 1.0)).argmax(1);
  pooled.select(1, 0).add_(50.0);
  return {pooled, labels};
}

TEST(TaskHead, LearnsWhatIsLinear) {
  const TaskHeadFit fit = train_task_head(make_data(400, 1), make_data(200, 2), {});
  EXPECT_GT(fit.training_accuracy, 0.85);
  EXPECT_GT(fit.held_out_accuracy, 0.8);
  EXPECT_LT(fit.majority_accuracy, 0.6);
  EXPECT_EQ(fit.head.weight_KC.sizes(), at::IntArrayRef({3, 6}));
}

// At the minimum the gradient is 0: sum over sequences of (probability - label) is 0 per class, and
// the standardised features' part balances the weight decay.
TEST(TaskHead, FitIsAMinimum) {
  const TaskHeadData data = make_data(400, 1);
  const TaskHeadOptions options{.max_iterations = 200, .weight_decay = 0.1};
  const TaskHead head = train_task_head(data, data, options).head;
  const at::Tensor residual_BK =
      head.logits_of_pooled(data.pooled_BC).softmax(1) - at::one_hot(data.labels_B, 3);
  EXPECT_LE(residual_BK.mean(0).abs().max().item<double>(), 1e-4);
  const at::Tensor mean_C = data.pooled_BC.mean(0);
  const at::Tensor scale_C = data.pooled_BC.std(0, false).clamp_min(1e-12);
  const at::Tensor features_BC = ((data.pooled_BC - mean_C) / scale_C).narrow(1, 0, 5);
  const at::Tensor gradient_KC = at::mm(residual_BK.t(), features_BC) / 400.0 +
                                 0.1 * (head.weight_KC * scale_C).narrow(1, 0, 5);
  EXPECT_LE(gradient_KC.abs().max().item<double>(), 1e-4);
}

TEST(TaskHead, FitRepeatsToTheLastBit) {
  const auto fit = [] { return train_task_head(make_data(400, 1), make_data(200, 2), {}).head; };
  EXPECT_TRUE(fit().weight_KC.equal(fit().weight_KC));
}

TEST(TaskHead, LogitsAreThoseOfThePooledCache) {
  const TaskHead head{golden_fill({3, 8}, 1, 1.0), golden_fill({3}, 2, 1.0)};
  const at::Tensor cache = golden_fill({2, 6, 4}, 3, 1.0);
  const at::Tensor offsets = at::tensor({0, 1, 6}, at::kLong);
  EXPECT_TRUE(head.logits(cache, offsets).equal(head.logits_of_pooled(mean_pool(cache, offsets))));
}

TEST(TaskHead, ErrorsSayWhatToDo) {
  const TaskHeadData good = make_data(10, 1);
  EXPECT_THROWS_WITH(train_task_head({}, good, {}), "expected float32 training features");
  EXPECT_THROWS_WITH(train_task_head(good, {good.pooled_BC.narrow(1, 0, 5), good.labels_B}, {}),
                     "held-out features [sequences, 6]");
  EXPECT_THROWS_WITH(train_task_head({good.pooled_BC, {}}, good, {}),
                     "Does the dataset have labels? If not, set loss.task: 0.");
  EXPECT_THROWS_WITH(train_task_head({good.pooled_BC, good.labels_B - 1}, good, {}),
                     "expected labels from 0 up, got -1");
  EXPECT_THROWS_WITH(train_task_head({good.pooled_BC, at::zeros({10}, at::kLong)}, good, {}),
                     "expected at least two classes among 10 training labels, got one");
  const TaskHead head{at::zeros({3, 8}), at::zeros({3})};
  EXPECT_THROWS_WITH(head.logits_of_pooled(at::zeros({2, 7})), "trained on another receiver");
}

TEST(TaskHead, OptionsAreDescribed) {
  TaskHeadOptions options;
  read_options(options, "", {"max_iterations=7", "weight_decay=0.5"});
  EXPECT_EQ(options.max_iterations, 7);
  EXPECT_EQ(options.weight_decay, 0.5);
}

}  // namespace
}  // namespace kvalign
