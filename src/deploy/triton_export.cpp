// Triton's repository has a folder a model, and in it a folder a version. A version is made under a
// name that Triton does not read, and renamed: a server that watches never meets half of one.
#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "kvalign/core/files.h"
#include "kvalign/deploy/onnx_export.h"
#include "kvalign/onnx/triton_config.h"
#include "projector_graph.h"

namespace kvalign {
namespace {

namespace fs = std::filesystem;

// One more than the highest that is there.
int64_t next_version(const fs::path& folder) {
  int64_t highest = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool is_version = name.size() < 10 && std::all_of(name.begin(), name.end(), [](char c) {
                              return c >= '0' && c <= '9';
                            });
    if (is_version) highest = std::max<int64_t>(highest, std::stoll(name));
  }
  return highest + 1;
}

// Removes what was begun.
class UnfinishedFolder {
 public:
  explicit UnfinishedFolder(fs::path path) : path_(std::move(path)) {
    fs::remove_all(path_);
    fs::create_directory(path_);
  }
  ~UnfinishedFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace

TritonExport export_triton(const std::string& checkpoint, const std::string& folder,
                           const OnnxExportOptions& options) {
  const fs::path model =
      fs::path(folder).has_filename() ? fs::path(folder) : fs::path(folder).parent_path();
  ProjectorGraph graph = make_projector_graph(checkpoint, options, CodeType::kUint8);
  const std::string config =
      triton_config(graph.builder.graph(), {.name = model.filename().string()});
  fs::create_directories(model);
  TritonExport result;
  result.config = (model / "config.pbtxt").string();
  result.version = next_version(model);
  const fs::path version = model / std::to_string(result.version);
  const UnfinishedFolder unfinished(model / (".unfinished-" + std::to_string(result.version)));
  result.onnx = write_projector_graph(graph, (unfinished.path() / "model.onnx").string());
  write_file_atomically(result.config, config);
  fs::rename(unfinished.path(), version);
  result.onnx.model = (version / "model.onnx").string();
  return result;
}

}  // namespace kvalign
