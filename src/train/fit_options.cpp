// What a recipe's `fit` section may say.
#include "kvalign/train/fit_options.h"

namespace kvalign {

void FitOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "kind",
                 .help = "adamw: descent on the loss (section train); ridge: closed form, of "
                         "linear_residual without norm, of residual_mlp's linear part and, by "
                         "reduced-rank regression, of low_rank; "
                         "ridge_then_adamw: descent that starts there",
                 .one_of = {"adamw", "ridge", "ridge_then_adamw"}},
                kind);
  visitor.field(
      {"start",
       "adamw: checkpoint whose weights descent starts from, of the same projector; empty: "
       "random weights"},
      start);
  visitor.field({"statistics",
                 "ridge: folder of the sums over the data, made when missing and read when there; "
                 "empty: `statistics` in the run folder"},
                statistics);
  visitor.field(
      {"merge",
       "ridge: files of training sums that are added to the dataset's own; a ladder cannot "
       "know their documents: keep those that it reads out of them"},
      merge);
  visitor.field(
      {"top_k",
       "ridge with layer_map.kind top_k: sender layers chosen for each receiver layer, by "
       "what they explain of the validation split; 0: projector.layer_map.layers says which",
       0},
      top_k);
  visitor.field({"lambda",
                 "ridge: penalty in units of a feature's variance; 0: for each stream the best on "
                 "the validation split",
                 0},
                lambda);
  visitor.field(
      {"feature_noise",
       "ridge: relative deviation of the error that features will carry in use; 0.0265 is "
       "E4M3's",
       0},
      feature_noise);
  visitor.field({.name = "metric",
                 .help = "low_rank: which errors count: variance takes every stream alike, "
                         "attention takes what moves the receiver's attention outputs",
                 .one_of = {"variance", "attention"}},
                metric);
  visitor.field({"receiver", "metric attention: Hugging Face folder of the receiver"}, receiver);
  visitor.field({"metric_sequences", "metric attention: training sequences it is measured on", 1},
                metric_sequences);
}

}  // namespace kvalign
