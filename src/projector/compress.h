// compress, the way back of kind bidirectional: from the receiver's streams to the sender's, by
// attention weights over the tokens of a sequence. With the features x_t of its N tokens
//
//   sum_one    w_t = softmax_t(a . x_t)        the project's first design
//   mean_one   w_t = N softmax_t(a . x_t)
//   y_t = w_t W (x_t - centre) + b             for each of the sender's streams its own a, W, b
//
// In the first design tokens are weighted, never added up, so this is no pooling: every token keeps
// its place, scaled by about 1/N. What is learned then depends on N: a map fitted to sequences of
// 256 tokens gives twice as much on 128. With mean_one the weights are 1 on average whatever N is,
// and equal weights leave a linear map. Both start with equal weights, a = 0.
//
// The sender continues from y_t like from a cache of its own. Unlike such a cache it is not causal:
// the weight of a token depends on those after it.
//
// Parameters: weight [S, d, F], bias [S, d], attention [S, F]; a bias of the attention would change
// nothing. Buffer: centre [G, F], 0 until a standardisation is folded, whose mean would otherwise
// leave a part of w_t that no bias has.
//
// Shapes:  S sender streams   d sender width   G groups and F features, made of the receiver's
//          streams   T tokens
#pragma once

#include <memory>

#include "kvalign/projector/projector.h"

namespace kvalign {

std::shared_ptr<Projector> make_compress(const ProjectorOptions& options,
                                         const ProjectorShape& shape);

}  // namespace kvalign
