// Token files. See token_file.h.
#include "kvalign/dataset/token_file.h"

#include <ATen/ATen.h>

#include "token_file_reader.h"

namespace kvalign {

TokenSequence TokenSide::sequence(int64_t number) const {
  const auto count = static_cast<int64_t>(offsets.size()) - 1;
  TORCH_CHECK(number >= 0 && number < count, "token file: expected a sequence from 0 to ",
              count - 1, ", got ", number, ".");
  const auto place = static_cast<size_t>(number);
  const int64_t first = offsets[place], length = offsets[place + 1] - first;
  return {token_ids.narrow(0, first, length), ends.narrow(0, first, length)};
}

at::Tensor TokenFile::alignment(int64_t sequence) const {
  if (one_tokenizer) return {};
  return align_tokens(sender.sequence(sequence).ends, receiver.sequence(sequence).ends);
}

TokenFile read_token_file(const std::filesystem::path& path) {
  TokenFileReader reader(path, "scripts/tokenise.py");
  TokenFile file = reader.read();
  reader.check_nothing_else();
  return file;
}

}  // namespace kvalign
