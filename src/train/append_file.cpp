// Appending over POSIX file descriptors.
#include "kvalign/train/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace kvalign {

namespace {

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw std::runtime_error(path + ": cannot " + what + ": " + std::strerror(errno));
}

}  // namespace

AppendFile::AppendFile(const std::string& path, int64_t keep_bytes)
    : path_(path), size_bytes_(keep_bytes) {
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file_ < 0) fail(path_, "open for appending");
  struct stat status {};
  if (::fstat(file_, &status) != 0) fail(path_, "read the size");
  if (status.st_size < keep_bytes) {
    ::close(file_);
    throw std::runtime_error(path_ + ": expected at least " + std::to_string(keep_bytes) +
                             " bytes, as recorded when the training state was saved, got " +
                             std::to_string(status.st_size) +
                             ". The file was changed since; start the run again in another folder");
  }
  if (status.st_size != keep_bytes && ::ftruncate(file_, keep_bytes) != 0) fail(path_, "cut back");
}

AppendFile::~AppendFile() {
  if (file_ >= 0) ::close(file_);
}

void AppendFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path_, "append");
    bytes.remove_prefix(static_cast<size_t>(written));
    size_bytes_ += written;
  }
}

void AppendFile::sync() {
  if (::fsync(file_) != 0) fail(path_, "sync");
}

}  // namespace kvalign
