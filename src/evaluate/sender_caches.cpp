// One pass of the sender a text. See sender_caches.h.
#include "sender_caches.h"

#include <ATen/ATen.h>

namespace kvalign {

const at::Tensor& SenderCaches::features(size_t text) {
  if (features_STd_.count(text) == 0) run(text);
  return features_STd_.at(text);
}

at::Tensor SenderCaches::run(size_t text) {
  const LadderText& tokens = setup_.texts[text];
  const int64_t consumed = tokens.sender_tokens.size(0) - 1;
  const DecoderOutput output = setup_.sender.forward(
      {.token_ids_BT = tokens.sender_tokens.narrow(0, 0, consumed).to(setup_.device).unsqueeze(0),
       .num_logits = consumed + 1 - tokens.sender_prefix});
  const at::Tensor sent_SUd = output.cache->streams().to(wire_dtype(setup_.options)).to(at::kFloat);
  features_STd_[text] = as_receiver_reads(sent_SUd, tokens);
  return output.logits_BTV.defined() ? output.logits_BTV[0] : at::Tensor();
}

at::Tensor SenderCaches::as_receiver_reads(const at::Tensor& sent_SUd,
                                           const LadderText& text) const {
  if (!text.alignment_T.defined()) {
    return sent_SUd.narrow(1, 0, text.sender_prefix - 1).contiguous();
  }
  return read_aligned(sent_SUd.to(at::kCPU), text.alignment_T, setup_.alignment).to(setup_.device);
}

void SenderCaches::forget(size_t next) {
  std::erase_if(features_STd_, [&](const auto& entry) {
    if (entry.first >= next) return false;
    for (size_t text = next; text < setup_.texts.size(); ++text) {
      if (setup_.other_document(text) == entry.first) return false;
    }
    return true;
  });
}

}  // namespace kvalign
