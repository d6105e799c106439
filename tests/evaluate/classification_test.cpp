// Figures of told classes against scikit-learn's, for the data and for a resample written out.
#include "kvalign/evaluate/classification.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/support/throws.h"

namespace kvalign {
namespace {

at::Tensor classes(const std::vector<int64_t>& numbers) {
  return at::tensor(numbers, at::kLong);
}

// Each sequence is a document of its own.
Bootstrap resamples_of(int64_t num_sequences, int64_t num_resamples = 20) {
  std::vector<int64_t> documents(num_sequences);
  for (int64_t q = 0; q < num_sequences; ++q) documents[q] = q;
  return Bootstrap(documents, num_resamples, 1);
}

ClassificationFigures<double> of_the_data(const std::vector<int64_t>& labels,
                                          const std::vector<int64_t>& answers,
                                          int64_t num_classes) {
  const ClassificationScores scores =
      classification_scores(classes(labels), classes(answers), num_classes,
                            resamples_of(static_cast<int64_t>(labels.size())));
  return {scores.accuracy[0].item<double>(), scores.balanced_accuracy[0].item<double>(),
          scores.macro_f1[0].item<double>()};
}

// Golden figures: scikit-learn 1.9.1's
//   accuracy_score(labels, answers), balanced_accuracy_score(labels, answers),
//   f1_score(labels, answers, average="macro")
struct Golden {
  std::vector<int64_t> labels, answers;
  int64_t num_classes;
  double accuracy, balanced_accuracy, macro_f1;
};

TEST(Classification, GivesTheFiguresOfScikitLearn) {
  for (const Golden& golden : std::vector<Golden>{
           // Always the commonest class.
           {{0, 0, 0, 0, 1}, {0, 0, 0, 0, 0}, 2, 0.8, 0.5, 4.0 / 9},
           // Class 3 is said and never occurs, class 2 occurs and is never said, class 4 neither.
           {{0, 0, 1, 1, 1, 2, 0, 1, 2, 0},
            {0, 3, 1, 1, 0, 1, 0, 1, 0, 3},
            5,
            0.5,
            5.0 / 12,
            0.3125},
           {{0, 1, 2, 3, 4, 4, 4, 2, 1, 0, 0, 0},
            {0, 1, 2, 3, 4, 3, 4, 1, 1, 0, 2, 0},
            5,
            0.75,
            0.7833333333333333,
            0.7247619047619047},
       }) {
    const auto figures = of_the_data(golden.labels, golden.answers, golden.num_classes);
    EXPECT_NEAR(figures.accuracy, golden.accuracy, 1e-12);
    EXPECT_NEAR(figures.balanced_accuracy, golden.balanced_accuracy, 1e-12);
    EXPECT_NEAR(figures.macro_f1, golden.macro_f1, 1e-12);
  }
}

// A resample's figure is the one of the list in which each sequence stands as often as it was
// drawn.
TEST(Classification, TakesAResampleAsDataOfItsOwn) {
  const std::vector<int64_t> labels{0, 1, 2, 2, 1, 0, 0}, answers{0, 1, 1, 2, 2, 0, 1};
  const Bootstrap bootstrap = resamples_of(7);
  const ClassificationScores scores =
      classification_scores(classes(labels), classes(answers), 3, bootstrap);
  for (int64_t n = 0; n <= bootstrap.num_resamples(); ++n) {
    std::vector<int64_t> drawn_labels, drawn_answers;
    for (int64_t q = 0; q < 7; ++q) {
      const auto times = static_cast<size_t>(bootstrap.weights()[n][q].item<double>());
      drawn_labels.insert(drawn_labels.end(), times, labels[q]);
      drawn_answers.insert(drawn_answers.end(), times, answers[q]);
    }
    const auto expected = of_the_data(drawn_labels, drawn_answers, 3);
    EXPECT_NEAR(scores.accuracy[n].item<double>(), expected.accuracy, 1e-12);
    EXPECT_NEAR(scores.balanced_accuracy[n].item<double>(), expected.balanced_accuracy, 1e-12);
    EXPECT_NEAR(scores.macro_f1[n].item<double>(), expected.macro_f1, 1e-12);
  }
}

TEST(Classification, DifferencesArePaired) {
  const Bootstrap bootstrap = resamples_of(6, 500);
  const at::Tensor labels = classes({0, 1, 0, 1, 0, 1});
  const ClassificationScores scores =
      classification_scores(labels, classes({0, 1, 1, 0, 0, 1}), 2, bootstrap);
  const ClassificationIntervals alone = intervals(scores, bootstrap);
  EXPECT_NEAR(alone.accuracy.value, 4.0 / 6, 1e-12);
  EXPECT_LT(alone.accuracy.low, alone.accuracy.high);
  const ClassificationIntervals difference = intervals(scores - scores, bootstrap);
  EXPECT_EQ(difference.macro_f1.low, 0.0);
  EXPECT_EQ(difference.macro_f1.high, 0.0);
}

TEST(Classification, NamesWhatIsNoClass) {
  const Bootstrap bootstrap = resamples_of(3);
  const at::Tensor good = classes({0, 1, 2});
  EXPECT_THROWS_WITH(classification_scores(good, classes({0, 1}), 3, bootstrap),
                     "expected answers int64 [3], got Long [2]");
  EXPECT_THROWS_WITH(classification_scores(good.to(at::kInt), good, 3, bootstrap),
                     "expected labels int64 [3], got Int [3]");
  EXPECT_THROWS_WITH(classification_scores(good, good, 2, bootstrap),
                     "expected labels from 0 to 1, got 2");
  EXPECT_THROWS_WITH(classification_scores(good, classes({0, -1, 1}), 3, bootstrap),
                     "expected answers from 0 to 2, got -1");
}

}  // namespace
}  // namespace kvalign
