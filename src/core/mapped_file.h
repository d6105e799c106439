// A file mapped into memory for as long as this object lives. Not a public header: what users see
// are the tensors that keep it alive.
#pragma once

#include <string>
#include <string_view>

namespace kvalign {

class MappedFile {
 public:
  // Errors: c10::Error that names the path and the reason.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {data_, size_}; }

  // Pages are private: a write stays in this process.
  char* data() { return data_; }

  // Takes the pages out of this process; they come back from the system's page cache, or the disk,
  // when they are touched. A write is lost.
  void let_go() const;

 private:
  char* data_ = nullptr;  // null for an empty file, which cannot be mapped
  size_t size_ = 0;
};

}  // namespace kvalign
