// Safetensors files: the only tensor files that kvalign reads and writes (datasets, checkpoints,
// models). The format: u64 header length, JSON header, data;
// https://github.com/huggingface/safetensors. Reading is lazy: opening checks every rule of the
// header, the data is paged in when it is touched. It does not check values, except where a caller
// asks for check_finite().
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kvalign/format/export.h"

namespace kvalign {

class MappedFile;

struct TensorInfo {
  at::ScalarType dtype = at::ScalarType::Undefined;
  std::vector<int64_t> shape;  // empty: a scalar
  int64_t begin = 0;           // bytes from the start of the data section
  int64_t end = 0;
};

// An open file. Copies are cheap and share the mapping; tensors keep it alive by themselves.
// The file may be replaced or deleted while it is open, but must not be changed in place: a mapping
// of a file that shrinks ends the process (SIGBUS).
class KVALIGN_API SafetensorsFile {
 public:
  // Maps `path` and checks the header. Errors: c10::Error with the file, the tensor, what was
  // expected, what came and what to do; one distinct text for each way to be wrong.
  static SafetensorsFile open(const std::string& path);

  const std::string& path() const { return path_; }

  // All tensors by name, sorted.
  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }

  // The `__metadata__` object; empty where the file has none.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  bool contains(const std::string& name) const { return tensors_.count(name) != 0; }

  // Errors: c10::Error that names the file, the missing tensor and what the file has.
  const TensorInfo& info(const std::string& name) const;

  // The tensor on the CPU, a view into the mapped file: read-only by contract (a write would be
  // seen by every other view in this process, and never reach the file). It outlives this object.
  // A tensor whose bytes are not aligned for its dtype, which the format permits, is a copy
  // instead. Errors: as info(); c10::Error for a BOOL tensor with a byte other than 0 and 1.
  at::Tensor tensor(const std::string& name) const;

  // Takes the file's pages out of this process' memory, where every byte that was read stays
  // otherwise. Tensors stay valid: what is read again is paged in again. A write into one is lost.
  void let_go_of_pages() const;

  // Errors: c10::Error that names the file, the tensor, and the first index that is NaN or
  // infinite. Integer tensors pass.
  void check_finite(const std::string& name) const;

 private:
  SafetensorsFile() = default;

  std::string path_;
  std::shared_ptr<MappedFile> file_;
  int64_t data_start_ = 0;  // bytes from the start of the file
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

struct NamedTensor {
  std::string name;
  at::Tensor tensor;  // any device, any strides; written as contiguous little-endian
};

// Writes a file that appears whole or not at all (core/files.h). Layout as the official package
// writes it: tensors by alignment of their dtype, then by name; header padded to 8 bytes. Errors:
// c10::Error for a name that is empty, twice there, `__metadata__` or not UTF-8, for an undefined
// or sparse tensor and a dtype that the format lacks; std::runtime_error when the disk refuses.
KVALIGN_API void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                                   const std::map<std::string, std::string>& metadata = {});

// The format's name of a dtype ("BF16"); empty where the format has none.
KVALIGN_API std::string_view safetensors_dtype_name(at::ScalarType dtype);

}  // namespace kvalign
