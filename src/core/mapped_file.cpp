// mmap of a whole file.
#include "mapped_file.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace kvalign {

MappedFile::MappedFile(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  TORCH_CHECK(descriptor >= 0, "cannot open '", path, "': ", std::strerror(errno));
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    TORCH_CHECK(false, "cannot map '", path, "': expected a regular file");
  }
  size_ = static_cast<size_t>(status.st_size);
  void* mapped = nullptr;
  int code = 0;
  if (size_ > 0) {
    // Private and writable: a stray in-place operation on a tensor must not end the process, and
    // must not reach the file. Pages that nobody writes cost no memory of their own.
    mapped =
        ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor, 0);
    code = errno;
  }
  ::close(descriptor);
  TORCH_CHECK(mapped != MAP_FAILED, "cannot map '", path, "' (", size_,
              " bytes): ", std::strerror(code));
  data_ = static_cast<char*>(mapped);
}

void MappedFile::let_go() const {
  // Of a mapping of this object's own it cannot fail; if it did, only memory would be lost.
  if (data_ != nullptr) ::madvise(data_, size_, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace kvalign
