// A folder of one's own among the system's temporary ones, removed with everything in it.
#pragma once

#include <string>

#include "kvalign/format/export.h"

namespace kvalign {

class KVALIGN_API TemporaryFolder {
 public:
  /// Throws std::runtime_error that names the folder where it cannot be made.
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace kvalign
