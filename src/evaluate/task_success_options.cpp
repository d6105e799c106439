// What a recipe's `task` section may say.
#include "kvalign/evaluate/task_success_options.h"

namespace kvalign {

void TaskSuccessOptions::describe(OptionVisitor& visitor) {
  visitor.field({"file",
                 "task file: held-out labelled texts, a question, an answer a class; empty: no "
                 "task. Models, sinks and wire are those of `ladder`"},
                file);
  visitor.field({"texts", "how many held-out texts are asked about; 0: all", 0}, texts);
  visitor.field({.name = "answer",
                 .help = "mean: the class whose answer has the highest log-likelihood a token; "
                         "calibrated: whose answer gains most log-likelihood over the question "
                         "without a text (domain-conditional PMI); batch_calibrated: over what is "
                         "said of all texts together, which needs no label (batch calibration)",
                 .one_of = {"mean", "calibrated", "batch_calibrated"}},
                answer);
  visitor.field({"text_classifiers",
                 "JSON of scripts/task_baselines.py: rows that read the text without a language "
                 "model; empty: none"},
                text_classifiers);
}

}  // namespace kvalign
