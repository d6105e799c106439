// A file that only grows and can be cut back to a length recorded earlier: what a resumed run needs
// to forget the lines of the steps that it is going to repeat.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kvalign/format/export.h"

namespace kvalign {

class KVALIGN_API AppendFile {
 public:
  /// Creates `path` where it is missing and cuts it to `keep_bytes`. Throws std::runtime_error with
  /// the path and the reason, also where the file is shorter than that.
  AppendFile(const std::string& path, int64_t keep_bytes);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// Hands the bytes to the operating system: a killed process loses none.
  /// Throws std::runtime_error, for example on a full disk.
  void append(std::string_view bytes);

  /// Waits until the bytes are on the disk: a power cut loses none.
  void sync();

  int64_t size_bytes() const { return size_bytes_; }

 private:
  std::string path_;
  int file_ = -1;
  int64_t size_bytes_ = 0;
};

}  // namespace kvalign
