// Whole files through the system's own calls: streams of the standard library neither fsync nor say
// why a write failed.
#include "kvalign/core/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace kvalign {
namespace {

[[noreturn]] void throw_system_error(const std::string& action, const std::string& path) {
  const int code = errno;
  throw std::runtime_error("cannot " + action + " '" + path + "': " + std::strerror(code) +
                           (code == ENOENT ? ". Does its folder exist?" : ""));
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// A new name also reaches the disk only when its folder does.
void sync_folder(const std::string& path) {
  const std::string folder = folder_of(path);
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw_system_error("open the folder", folder);
  const int result = ::fsync(descriptor);
  const int code = errno;
  ::close(descriptor);
  errno = code;
  // EINVAL: a file system that has nothing to flush for a folder.
  if (result != 0 && code != EINVAL) throw_system_error("flush the folder", folder);
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  const std::string prefix = path + ".tmp-" + std::to_string(::getpid()) + "-";
  for (int attempt = 0; descriptor_ < 0; ++attempt) {
    temporary_path_ = prefix + std::to_string(attempt);
    descriptor_ = ::open(temporary_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    // Taken by another thread, or left by a killed process that had the same number.
    if (descriptor_ < 0 && errno != EEXIST) throw_system_error("create", temporary_path_);
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_path_.empty()) ::unlink(temporary_path_.c_str());
}

void AtomicFile::fail(const char* action) const {
  throw_system_error(action, path_);
}

void AtomicFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail("flush");
  const int result = ::close(descriptor_);
  descriptor_ = -1;
  if (result != 0) fail("close");
  if (::rename(temporary_path_.c_str(), path_.c_str()) != 0) fail("rename a temporary file to");
  temporary_path_.clear();
  sync_folder(path_);
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

std::string read_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw_system_error("open", path);
  struct stat status {};
  std::string bytes;
  ssize_t count = ::fstat(descriptor, &status);
  // Not only st_size bytes: files of /proc report a size of 0.
  for (size_t size = 0; count >= 0; size += static_cast<size_t>(count)) {
    bytes.resize(std::max(size + 4096, static_cast<size_t>(status.st_size) + 1));
    do {
      count = ::read(descriptor, bytes.data() + size, bytes.size() - size);
    } while (count < 0 && errno == EINTR);
    if (count == 0) {
      bytes.resize(size);
      break;
    }
  }
  const int code = errno;
  ::close(descriptor);
  errno = code;
  if (count < 0) throw_system_error("read", path);
  return bytes;
}

}  // namespace kvalign
