// See the header.
#include "kvalign/core/temporary_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace kvalign {

TemporaryFolder::TemporaryFolder()
    : path_((std::filesystem::temp_directory_path() / "kvalign-XXXXXX").string()) {
  if (::mkdtemp(path_.data()) == nullptr) {
    throw std::runtime_error("cannot make the temporary folder " + path_ + ": " +
                             std::strerror(errno));
  }
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace kvalign
