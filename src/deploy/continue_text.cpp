// See continue_text.h.
#include "continue_text.h"

#include <ATen/ATen.h>

#include "utf8_pieces.h"

namespace kvalign {

int64_t continue_text(const ServedReceiver& receiver, const std::optional<KvCache>& cache,
                      const at::Tensor& token_ids, int64_t max_tokens, const PieceSink& sink) {
  const Decoder& decoder = receiver.packets.decoder();
  DecoderSession session(decoder, cache);
  Utf8Pieces characters;
  at::Tensor next = token_ids.to(decoder.device()).unsqueeze(0);
  int64_t token = 0;
  for (int64_t generated = 1; generated <= max_tokens; ++generated) {
    token = session.append(next).argmax(-1).item<int64_t>();
    const bool last = generated == max_tokens || receiver.end_tokens.contains(token);
    std::string text = receiver.end_tokens.contains(token)
                           ? std::string()
                           : characters.add(receiver.detokeniser.text({token}));
    if (last) text += characters.finish();
    const bool silent = receiver.end_tokens.contains(token) && text.empty();
    if ((!silent && !sink({.text = text, .token_id = token})) || last) return generated;
    next = at::full({1, 1}, token, token_ids.options()).to(decoder.device());
  }
  return max_tokens;
}

}  // namespace kvalign
