// Which models a service has, and its limits: what serve.yaml says of them. HTTP has options of its
// own.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kvalign/core/options.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// Which requests are put together.
struct KVALIGN_API BatchOptions {
  int64_t max_tokens = 1024;    ///< of a batch; a longer request is a batch of its own
  double wait_ms = 1;           ///< for requests that are being read, or came together lately
  int64_t queue_requests = 64;  ///< that may wait; one more is refused as busy
  bool bit_identical = true;    ///< a request's answer does not depend on its company
  void describe(OptionVisitor& visitor);
};

/// Beyond which numbers a cache is not used.
struct KVALIGN_API GuardOptions {
  /// Share of FP8 codes. The demo pair's caches, rounded without any saturation, reach 0.0066.
  double max_saturated = 0.05;
  double max_norm = 4;      ///< a token's, in units of the largest in training
  double max_raw_norm = 0;  ///< a token's 2-norm, of models without statistics; 0: any
  void describe(OptionVisitor& visitor);
};

/// What is proved of each request's FP8 codes.
struct KVALIGN_API RequestCertificateOptions {
  std::string of = "wire";  ///< off; wire: the numbers that came; projected: the streams as well
  int64_t tokens = 16;      ///< evenly spaced ones that are looked at; 0: all
  void describe(OptionVisitor& visitor);
};

/// How the receiver goes on.
struct KVALIGN_API GenerateOptions {
  int64_t concurrent = 2;    ///< one more is refused as busy
  int64_t max_tokens = 256;  ///< that a request may ask for, and gets where it says nothing
  void describe(OptionVisitor& visitor);
};

/// Requests whose error is measured after they were answered: their receiver reads the text.
struct KVALIGN_API ShadowOptions {
  double rate = 0;    ///< share of the requests that could be
  int64_t queue = 8;  ///< that may wait for it; one more is not measured
  void describe(OptionVisitor& visitor);
};

struct KVALIGN_API ModelServiceOptions {
  std::vector<std::string> models = {};      ///< name=checkpoint, or a path, named by its folder
  std::vector<std::string> receivers = {};   ///< name=Hugging Face folder, of those that generate
  std::vector<std::string> datasets = {};    ///< name=folder of the dataset it was trained on
  std::vector<std::string> statistics = {};  ///< name=file of measure_input_statistics
  std::string device = "auto";               ///< auto, cpu, cuda or cuda:N
  int64_t threads = 1;  ///< of the CPU; 0: LibTorch's choice. Set by the tool, not the library
  int64_t max_tokens = 8192;  ///< of a request's cache
  BatchOptions batch = {};
  GuardOptions guard = {};
  RequestCertificateOptions certificate = {};
  GenerateOptions generate = {};
  ShadowOptions shadow = {};
  void describe(OptionVisitor& visitor);
};

/// One model of the options.
struct ModelSpec {
  std::string name = {};
  std::string checkpoint = {};                               ///< a path
  std::string receiver = {}, dataset = {}, statistics = {};  ///< paths; empty where not given
};

/// What a list of name=path says of each model: [name, path]. `option` is its name for errors.
/// Throws std::invalid_argument for what is no name=path, for a name that is not among `models`,
/// and for two of one name.
KVALIGN_API std::map<std::string, std::string> paths_by_model(const char* option,
                                                              const std::vector<std::string>& list,
                                                              const std::set<std::string>& models);

/// One a model, in order. Throws std::invalid_argument for a name that is empty, has characters
/// other than letters, digits, '.', '_' and '-', or is there twice, and for a receiver, dataset or
/// statistics of a name that no model has.
KVALIGN_API std::vector<ModelSpec> model_specs(const ModelServiceOptions& options);

}  // namespace kvalign
