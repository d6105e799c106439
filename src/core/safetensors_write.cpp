// Writing: the header first, then one tensor after the other, so that memory holds one copy at
// most.
#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "kvalign/core/files.h"
#include "kvalign/core/safetensors.h"
#include "safetensors_dtype.h"

namespace kvalign {
namespace {

// `text` as a JSON string. nlohmann refuses what is not UTF-8.
std::string quoted(const std::string& text, const std::string& path, const char* what) {
  std::string json;
  try {
    json = nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    const auto replace = nlohmann::json::error_handler_t::replace;
    TORCH_CHECK(false, path, ": expected ", what, " in UTF-8, got ",
                nlohmann::json(text).dump(-1, ' ', /*ensure_ascii=*/true, replace));
  }
  return json;
}

void check_tensors(const std::vector<NamedTensor>& tensors, const std::string& path) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    TORCH_CHECK(name != "__metadata__", path,
                ": no tensor can be called __metadata__, the format keeps that name for itself");
    TORCH_CHECK(names.insert(name).second, path, ": two tensors are called '", name, "'");
    TORCH_CHECK(tensor.defined(), path, ": tensor '", name, "' is undefined");
    TORCH_CHECK(tensor.layout() == at::kStrided, path, ": tensor '", name,
                "': expected a dense tensor, got ", tensor.layout(), ". Call to_dense() first");
    TORCH_CHECK(!safetensors_dtype_name(tensor.scalar_type()).empty(), path, ": tensor '", name,
                "': safetensors files cannot hold ", tensor.scalar_type());
  }
}

// The official order; see kSafetensorsDtypes.
std::vector<const NamedTensor*> file_order(const std::vector<NamedTensor>& tensors) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& entry : tensors) order.push_back(&entry);
  const auto rank = [](const NamedTensor& entry) {
    const auto is_dtype = [&](const auto& row) { return row.dtype == entry.tensor.scalar_type(); };
    return std::find_if(kSafetensorsDtypes.begin(), kSafetensorsDtypes.end(), is_dtype) -
           kSafetensorsDtypes.begin();
  };
  std::sort(order.begin(), order.end(), [&](const NamedTensor* left, const NamedTensor* right) {
    return std::tuple(-rank(*left), left->name) < std::tuple(-rank(*right), right->name);
  });
  return order;
}

std::string make_header(const std::vector<const NamedTensor*>& order,
                        const std::map<std::string, std::string>& metadata,
                        const std::string& path) {
  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      header +=
          quoted(key, path, "a metadata key") + ":" + quoted(value, path, "a metadata value") + ",";
    }
    header.back() = '}';
    header += ',';
  }
  uint64_t offset = 0;
  for (const auto* entry : order) {
    const uint64_t end = offset + entry->tensor.nbytes();
    header += quoted(entry->name, path, "a tensor name") + ":{\"dtype\":\"" +
              std::string(safetensors_dtype_name(entry->tensor.scalar_type())) +
              "\",\"shape\":" + nlohmann::json(entry->tensor.sizes().vec()).dump() +
              ",\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(end) + "]},";
    offset = end;
  }
  if (header.back() == ',') header.pop_back();
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  TORCH_CHECK(header.size() <= kMaximumSafetensorsHeader, path, ": header of ", header.size(),
              " bytes, readers accept at most ", kMaximumSafetensorsHeader,
              ". Put less into the metadata");
  return header;
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  check_tensors(tensors, path);
  const std::vector<const NamedTensor*> order = file_order(tensors);
  const std::string header = make_header(order, metadata, path);
  const uint64_t length = header.size();

  AtomicFile file(path);
  file.write({reinterpret_cast<const char*>(&length), sizeof length});
  file.write(header);
  for (const auto* entry : order) {
    const at::Tensor bytes = entry->tensor.detach().to(at::kCPU).contiguous();
    file.write({static_cast<const char*>(bytes.data_ptr()), bytes.nbytes()});
  }
  file.commit();
}

}  // namespace kvalign
