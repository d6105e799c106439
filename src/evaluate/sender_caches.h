// What the sender computes of each text of a ladder: its cache, as the receiver's tokens read it,
// and its own predictions. Caches are kept as long as a later text takes them for the wrong
// document's. Private to evaluate/.
//
// Shapes:  S sender streams   U sender tokens   T tokens of a prefix that a cache covers   d sender
// width
//          M predicted tokens   V vocabulary
#pragma once

#include <ATen/core/Tensor.h>

#include <map>

#include "ladder_setup.h"

namespace kvalign {

class SenderCaches {
 public:
  explicit SenderCaches(const LadderSetup& setup) : setup_(setup) {}

  // [S, T, d] float32, after the wire: token t is what receiver token t reads.
  const at::Tensor& features(size_t text);

  // Logits [M, V] of the sender's own predicted tokens, undefined where it has none; keeps the
  // features.
  at::Tensor run(size_t text);

  // Drops what no text from `next` on needs.
  void forget(size_t next);

 private:
  at::Tensor as_receiver_reads(const at::Tensor& sent_SUd, const LadderText& text) const;

  const LadderSetup& setup_;
  std::map<size_t, at::Tensor> features_STd_;
};

}  // namespace kvalign
