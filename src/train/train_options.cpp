// What a recipe may say about the optimisation.
#include "kvalign/train/train_options.h"

namespace kvalign {

void TrainOptions::describe(OptionVisitor& visitor) {
  visitor.field({"epochs", "passes over the training split", 1}, epochs);
  visitor.field({.name = "learning_rate",
                 .help = "of AdamW, after the warm-up",
                 .minimum = 0,
                 .exclusive_minimum = true},
                learning_rate);
  visitor.field({.name = "schedule",
                 .help = "learning rate after the warm-up: constant, or cosine down to 0",
                 .one_of = {"constant", "cosine"}},
                schedule);
  visitor.field({"warmup_steps", "steps of linear rise at the start", 0}, warmup_steps);
  visitor.field({"weight_decay", "decoupled weight decay of AdamW", 0}, weight_decay);
  visitor.field({.name = "beta1",
                 .help = "decay of AdamW's mean of gradients",
                 .minimum = 0,
                 .maximum = 1,
                 .exclusive_maximum = true},
                beta1);
  visitor.field({.name = "beta2",
                 .help = "decay of AdamW's mean of squared gradients",
                 .minimum = 0,
                 .maximum = 1,
                 .exclusive_maximum = true},
                beta2);
  visitor.field({.name = "epsilon",
                 .help = "added to AdamW's denominator",
                 .minimum = 0,
                 .exclusive_minimum = true},
                epsilon);
  visitor.field({"gradient_clip", "largest norm of all gradients together; 0 clips nothing", 0},
                gradient_clip);
  visitor.field({.name = "autocast",
                 .help = "type of the projector's matrix products; weights and loss stay float32",
                 .one_of = {"none", "bfloat16"}},
                autocast);
  visitor.field(
      {"ranks",
       "low_rank: numbers of the latent that steps use in turn, so that its beginnings are "
       "trained as well; empty: all of them in every step",
       1},
      ranks);
  visitor.field({"validate_every", "epochs between two validations", 1}, validate_every);
  visitor.field({"early_stopping_patience",
                 "validations without improvement before the run ends; 0 never ends it early", 0},
                early_stopping_patience);
  visitor.field({"checkpoint_every_steps",
                 "steps between two saves of the training state; each epoch's end saves too", 1},
                checkpoint_every_steps);
  visitor.field({"log_every_steps", "steps between two train_step events", 1}, log_every_steps);
}

}  // namespace kvalign
