// Bytes of tokens to pieces of whole characters: a token may end in the middle of one. Private to
// deploy/.
#pragma once

#include <string>
#include <string_view>

namespace kvalign {

class Utf8Pieces {
 public:
  /// The characters that are whole with `bytes`, as UTF-8. What can be no character gives U+FFFD
  /// for each maximal part (Unicode 15, section 3.9), as in Python's decode(errors="replace").
  std::string add(std::string_view bytes);

  /// What is left when nothing more comes: U+FFFD for a character that was cut, else nothing.
  std::string finish();

 private:
  std::string rest_;  // the beginning of a character
};

}  // namespace kvalign
