// Whole files, read in one piece or replaced in one step: a reader, a crash or a full disk never
// meets half a file. Not for appending (train/metrics_log.h) and not for huge inputs (safetensors.h
// maps those).
#pragma once

#include <string>
#include <string_view>

#include "kvalign/format/export.h"

namespace kvalign {

// A file that appears under `path` only when commit() returns. Until then the bytes go to a
// temporary file in the same folder (`path` + ".tmp-<process>-<n>"), which the destructor removes;
// only a killed process leaves it behind.
//
//   AtomicFile file("run/report.json");
//   file.write(text);
//   file.commit();
//
// Errors: std::runtime_error that names the path and the system's reason (folder missing, disk
// full).
class KVALIGN_API AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);

  // fsync of the file, rename over `path`, fsync of the folder: after it the file survives a power
  // cut.
  void commit();

 private:
  [[noreturn]] void fail(const char* action) const;

  std::string path_;
  std::string temporary_path_;  // empty once it no longer exists
  int descriptor_ = -1;
};

// AtomicFile in one call. Replaces `path` where it exists.
KVALIGN_API void write_file_atomically(const std::string& path, std::string_view bytes);

// The whole file. Errors: std::runtime_error that names the path and the reason.
KVALIGN_API std::string read_file(const std::string& path);

}  // namespace kvalign
