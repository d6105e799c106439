// What serve.yaml may say of models. See the header.
#include "kvalign/deploy/model_service_options.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <set>
#include <stdexcept>

#include "kvalign/core/device.h"

namespace kvalign {
namespace {

void check_model_name(const std::string& name, const std::string& text) {
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '_' || c == '-';
  });
  if (!plain) {
    throw std::invalid_argument(
        "models: expected a name of letters, digits, '.', '_' and '-', got \"" + name + "\" in " +
        text + ". Write name=" + text);
  }
}

// "name=path"; a path alone is named by its folder, as evaluate names its rows.
std::pair<std::string, std::string> split_model(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals != std::string::npos) return {text.substr(0, equals), text.substr(equals + 1)};
  const auto path = std::filesystem::absolute(text).lexically_normal();
  const std::string stem = path.stem().string();
  return {stem == "checkpoint" ? path.parent_path().filename().string() : stem, text};
}

}  // namespace

void BatchOptions::describe(OptionVisitor& visitor) {
  visitor.field({"max_tokens", "tokens that are projected at once", 1}, max_tokens);
  visitor.field({"wait_ms",
                 "how long a request waits for others that are being read, or for as many as "
                 "came at one moment the last time, milliseconds; without any it does not wait",
                 0, 1000},
                wait_ms);
  visitor.field({"queue_requests", "requests that may wait; more are refused as busy", 1},
                queue_requests);
  visitor.field({"bit_identical",
                 "a request gets the bits that it would get alone: those too short for it are "
                 "projected alone"},
                bit_identical);
}

void GuardOptions::describe(OptionVisitor& visitor) {
  visitor.field({"max_saturated",
                 "share of a request's FP8 codes that may be the largest, beyond the one that "
                 "each scale of a token or block has",
                 0, 1},
                max_saturated);
  visitor.field({"max_norm",
                 "root mean square of a token's standardised numbers, in units of the largest in "
                 "training, for models with statistics; 0: any",
                 0},
                max_norm);
  visitor.field(
      {"max_raw_norm", "2-norm of a token's numbers, for models without statistics; 0: any", 0},
      max_raw_norm);
}

void RequestCertificateOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "of",
                 .help = "what is proved of a request in FP8: nothing, the numbers that came, or "
                         "also what is projected from them, which costs more than projecting",
                 .one_of = {"off", "wire", "projected"}},
                of);
  visitor.field({"tokens", "evenly spaced tokens that are certified; 0: all", 0}, tokens);
}

void GenerateOptions::describe(OptionVisitor& visitor) {
  visitor.field({"concurrent", "texts at once; more are refused as busy", 1}, concurrent);
  visitor.field({"max_tokens", "that a request may ask for, and gets where it says nothing", 1},
                max_tokens);
}

void ShadowOptions::describe(OptionVisitor& visitor) {
  visitor.field({"rate",
                 "share of the requests with ids of all tokens whose error is measured after the "
                 "answer: the receiver reads the text",
                 0, 1},
                rate);
  visitor.field({"queue", "requests that may wait for it; more are not measured", 1}, queue);
}

void ModelServiceOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "models",
                 .help = "name=checkpoint; a path alone is named by its folder",
                 .required = true},
                models);
  visitor.field({"receivers", "name=Hugging Face folder of the models that generate"}, receivers);
  visitor.field(
      {"datasets",
       "name=folder of the paired dataset it was trained on: tokenisers and revisions are "
       "compared with its index.json"},
      datasets);
  visitor.field({"statistics",
                 "name=file of what its inputs looked like in training: norms and drift are in "
                 "these units"},
                statistics);
  visitor.field({"device", "auto, cpu, cuda or cuda:N"}, device);
  visitor.field({.name = "threads",
                 .help = "threads of the CPU; 0: LibTorch's choice",
                 .minimum = 0,
                 .maximum = kMostThreads},
                threads);
  visitor.field({"max_tokens", "of one request's cache", 1}, max_tokens);
  visitor.section("batch", "which requests are put together", batch);
  visitor.section("guard", "beyond which numbers a cache is not used", guard);
  visitor.section("certificate", "what is proved of each request", certificate);
  visitor.section("generate", "how the receiver goes on", generate);
  visitor.section("shadow", "requests whose error is measured afterwards", shadow);
}

std::map<std::string, std::string> paths_by_model(const char* option,
                                                  const std::vector<std::string>& list,
                                                  const std::set<std::string>& models) {
  std::map<std::string, std::string> paths;
  for (const std::string& text : list) {
    const size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    if (equals == std::string::npos || !models.contains(name)) {
      std::string known;
      for (const std::string& model : models) known += " " + model;
      throw std::invalid_argument(std::string(option) +
                                  ": expected name=path with the name of a model, got \"" + text +
                                  "\". Models are:" + known);
    }
    if (!paths.emplace(name, text.substr(equals + 1)).second) {
      throw std::invalid_argument(std::string(option) + ": expected one a model, got two of " +
                                  name);
    }
  }
  return paths;
}

std::vector<ModelSpec> model_specs(const ModelServiceOptions& options) {
  std::vector<ModelSpec> specs;
  std::set<std::string> names;
  for (const std::string& text : options.models) {
    const auto [name, path] = split_model(text);
    check_model_name(name, text);
    if (!names.insert(name).second) {
      throw std::invalid_argument("models: expected one of each name, got two of " + name +
                                  ". Write name=path");
    }
    specs.push_back({.name = name, .checkpoint = path});
  }
  const auto receivers = paths_by_model("receivers", options.receivers, names);
  const auto datasets = paths_by_model("datasets", options.datasets, names);
  const auto statistics = paths_by_model("statistics", options.statistics, names);
  const auto find = [](const std::map<std::string, std::string>& paths, const std::string& name) {
    const auto found = paths.find(name);
    return found == paths.end() ? std::string() : found->second;
  };
  for (ModelSpec& spec : specs) {
    spec.receiver = find(receivers, spec.name);
    spec.dataset = find(datasets, spec.name);
    spec.statistics = find(statistics, spec.name);
  }
  return specs;
}

}  // namespace kvalign
