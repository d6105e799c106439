// The models that answer, by name; each is replaced as a whole. Private to deploy/.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kvalign/deploy/model_service.h"
#include "served_model.h"

namespace kvalign {

class ModelStore {
 public:
  /// Loads all. Throws as load_served_model.
  explicit ModelStore(const ModelServiceOptions& options);

  std::vector<std::string> names() const;

  /// What answers now, to be held until the answer is written. Throws ServeRefusal 404
  /// "unknown_model" for a name or version that there is not; an empty version is the newest.
  std::shared_ptr<const ServedModel> find(const std::string& name,
                                          const std::string& version) const;

  /// As ModelService::reload. One at a time: the second caller waits.
  std::vector<ReloadedModel> reload();

 private:
  std::shared_ptr<const ServedModel> current(const std::string& name) const;

  const ModelServiceOptions options_;
  std::mutex reload_mutex_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const ServedModel>> models_;
};

}  // namespace kvalign
