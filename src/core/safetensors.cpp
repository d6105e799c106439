// Reading: tensors as views of the mapped file.
#include "kvalign/core/safetensors.h"

#include <ATen/ATen.h>

#include <cstring>

#include "mapped_file.h"
#include "safetensors_dtype.h"
#include "safetensors_header.h"

namespace kvalign {
namespace {

// Elements that check_finite() looks at in one step: it needs a mask of that many bytes.
constexpr int64_t kFiniteBlock = 1 << 20;

// [3, 0, 7] of element `flat_index`.
std::vector<int64_t> unravel(int64_t flat_index, at::IntArrayRef shape) {
  std::vector<int64_t> index(shape.size());
  for (size_t dimension = shape.size(); dimension-- > 0;) {
    index[dimension] = flat_index % shape[dimension];
    flat_index /= shape[dimension];
  }
  return index;
}

// "a, b, c, ...": enough names to see what a file holds.
std::string list_names(const std::map<std::string, TensorInfo>& tensors) {
  std::string names;
  for (const auto& [name, info] : tensors) {
    if (names.size() > 400) return names + ", ...";
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  SafetensorsFile file;
  file.path_ = path;
  file.file_ = std::make_shared<MappedFile>(path);
  SafetensorsHeader header = parse_safetensors_header(file.file_->bytes(), path);
  file.data_start_ = header.data_start;
  file.tensors_ = std::move(header.tensors);
  file.metadata_ = std::move(header.metadata);
  return file;
}

const TensorInfo& SafetensorsFile::info(const std::string& name) const {
  const auto found = tensors_.find(name);
  TORCH_CHECK(found != tensors_.end(), path_, ": no tensor '", name, "'; it has ", tensors_.size(),
              tensors_.empty() ? " tensors" : " tensors: ", list_names(tensors_));
  return found->second;
}

at::Tensor SafetensorsFile::tensor(const std::string& name) const {
  const TensorInfo& entry = info(name);
  const auto size = static_cast<size_t>(entry.end - entry.begin);
  if (size == 0) return at::empty(entry.shape, entry.dtype);
  char* data = file_->data() + data_start_ + entry.begin;
  if (entry.dtype == at::kBool) {
    // Any other byte is undefined behaviour once it is read as a bool.
    for (size_t i = 0; i < size; ++i) {
      TORCH_CHECK(data[i] == 0 || data[i] == 1, path_, ": tensor '", name,
                  "': expected bytes 0 and 1 in a BOOL tensor, got ",
                  static_cast<int>(static_cast<unsigned char>(data[i])), " at element ", i);
    }
  }
  if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(entry.dtype) != 0) {
    at::Tensor copy = at::empty(entry.shape, entry.dtype);
    std::memcpy(copy.data_ptr(), data, size);
    return copy;
  }
  return at::from_blob(
      data, entry.shape, [keep_alive = file_](void*) {}, at::TensorOptions(entry.dtype));
}

void SafetensorsFile::let_go_of_pages() const {
  file_->let_go();
}

void SafetensorsFile::check_finite(const std::string& name) const {
  const at::Tensor values = tensor(name);
  if (!values.is_floating_point()) return;
  const at::Tensor flat = values.flatten();
  for (int64_t begin = 0; begin < flat.numel(); begin += kFiniteBlock) {
    at::Tensor block = flat.slice(0, begin, begin + kFiniteBlock);
    // isfinite lacks FP8.
    if (c10::elementSize(block.scalar_type()) == 1) block = block.to(at::kFloat);
    const at::Tensor finite = at::isfinite(block);
    if (finite.all().item<bool>()) continue;
    const int64_t bad = begin + finite.logical_not().nonzero()[0].item<int64_t>();
    const double value = flat[bad].to(at::kDouble).item<double>();
    TORCH_CHECK(false, path_, ": tensor '", name, "': expected finite values, got ", value,
                " at index ", at::IntArrayRef(unravel(bad, values.sizes())), " of ", values.sizes(),
                ". Was it made by a run that diverged, or cast to too small a dtype?");
  }
}

std::string_view safetensors_dtype_name(at::ScalarType dtype) {
  for (const SafetensorsDtype& row : kSafetensorsDtypes) {
    if (row.dtype == dtype) return row.name;
  }
  return {};
}

}  // namespace kvalign
