// See model_store.h.
#include "model_store.h"

#include "kvalign/core/sha256.h"

namespace kvalign {
ModelStore::ModelStore(const ModelServiceOptions& options) : options_(options) {
  for (const ModelSpec& spec : model_specs(options)) {
    models_[spec.name] = load_served_model(spec, options);
  }
}

std::vector<std::string> ModelStore::names() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, model] : models_) names.push_back(name);
  return names;
}

std::shared_ptr<const ServedModel> ModelStore::find(const std::string& name,
                                                    const std::string& version) const {
  const std::shared_ptr<const ServedModel> model = current(name);
  if (!model) {
    std::string known;
    for (const std::string& other : names()) known += (known.empty() ? "" : ", ") + other;
    throw ServeRefusal(404, "unknown_model",
                       "expected a model of " + known + ", got \"" + name + "\"");
  }
  if (!version.empty() && version != model->version) {
    throw ServeRefusal(404, "unknown_model",
                       name + ": expected version " + model->version + ", got \"" + version +
                           "\". Only the newest is kept");
  }
  return model;
}

std::shared_ptr<const ServedModel> ModelStore::current(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = models_.find(name);
  return found == models_.end() ? nullptr : found->second;
}

std::vector<ReloadedModel> ModelStore::reload() {
  const std::lock_guard one_at_a_time(reload_mutex_);
  std::vector<ReloadedModel> results;
  for (const std::string& name : names()) {
    const std::shared_ptr<const ServedModel> old = current(name);
    ReloadedModel result{.model = name, .version = old->version};
    try {
      if (sha256_of_file(old->spec.checkpoint) != old->sha256) {
        const std::shared_ptr<const ServedModel> loaded = load_served_model(old->spec, options_);
        const std::lock_guard lock(mutex_);
        models_[name] = loaded;
        result.version = loaded->version;
        result.replaced = true;
      }
    } catch (const std::exception& error) {
      result.error = error.what();
    }
    results.push_back(result);
  }
  return results;
}

}  // namespace kvalign
