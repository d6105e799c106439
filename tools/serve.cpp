// kvalign serve: models (deploy/), HTTP (serve/) and the monitor in one process, until SIGTERM.
#include <CLI/App.hpp>
#include <chrono>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "command.h"
#include "console.h"
#include "kvalign/core/sha256.h"
#include "kvalign/deploy/model_service.h"
#include "kvalign/monitor/drift_reference.h"
#include "kvalign/monitor/monitor.h"
#include "kvalign/monitor/status_page.h"
#include "kvalign/serve/http_server.h"
#include "serve_signals.h"

namespace kvalign::tools {
namespace {

struct ServeFlags : Flags {
  std::string access_log;
};

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

nlohmann::json to_json(const AccessLogEntry& entry) {
  const RequestRecord& record = entry.record;
  nlohmann::json json = {{"time", unix_seconds()},
                         {"client", entry.client},
                         {"verb", entry.verb},
                         {"target", entry.target},
                         {"status", record.status},
                         {"seconds", entry.seconds},
                         {"bytes_received", record.bytes_received},
                         {"bytes_sent", record.bytes_sent}};
  if (!record.method.empty()) json["method"] = record.method;
  if (!record.model.empty()) json["model"] = record.model;
  if (!entry.id.empty()) json["id"] = entry.id;
  if (record.outcome) json["outcome"] = name_of(*record.outcome);
  if (!record.reason.empty()) json["reason"] = record.reason;
  if (!entry.error.empty()) json["error"] = entry.error;
  if (record.tokens > 0) json["tokens"] = record.tokens;
  if (record.generated_tokens > 0) json["generated_tokens"] = record.generated_tokens;
  if (!record.phase_seconds.empty()) json["phase_seconds"] = record.phase_seconds;
  return json;
}

// A server that others can reach should ask who they are.
void warn_of_strangers(const ServeOptions& options, Console& console) {
  const bool is_loopback =
      options.host == "127.0.0.1" || options.host == "::1" || options.host == "localhost";
  if (is_loopback) return;
  if (options.token_file.empty()) {
    console.warning("serve.host " + options.host +
                    " is open to a network, and without serve.token_file to everybody in it");
  }
  if (options.tls_certificate.empty()) {
    console.warning("serve.host " + options.host +
                    " is open to a network without TLS: what is sent can be read on the way");
  }
}

// One line of JSON a request.
class AccessLog {
 public:
  explicit AccessLog(const std::string& path) : path_(path) { reopen(); }

  /// Also where the file has been moved away: what comes next goes to a new one.
  void reopen() {
    if (path_.empty()) return;
    const std::lock_guard lock(mutex_);
    file_ = std::ofstream(path_, std::ios::app);
    if (!file_) throw std::runtime_error("--access-log " + path_ + ": cannot be written");
  }

  void write(const AccessLogEntry& entry) {
    if (path_.empty()) return;
    // A target is whatever a stranger sent, not always UTF-8.
    const std::string line =
        to_json(entry).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    const std::lock_guard lock(mutex_);
    file_ << line << '\n' << std::flush;
  }

 private:
  std::string path_;
  std::mutex mutex_;
  std::ofstream file_;
};

std::map<std::string, std::string> drift_files(const ServeRecipe& recipe,
                                               const std::vector<ModelSpec>& specs) {
  std::set<std::string> names;
  for (const ModelSpec& spec : specs) names.insert(spec.name);
  try {
    return paths_by_model("drift.references", recipe.drift.references, names);
  } catch (const std::invalid_argument& error) {
    throw WrongUsage(error.what());
  }
}

class Server {
 public:
  Server(const ServeRecipe& recipe, const std::string& access_log, Console& console)
      : recipe_(recipe),
        console_(console),
        specs_(model_specs(recipe.service)),
        drift_files_(drift_files(recipe, specs_)),
        access_log_(access_log),
        monitor_(names(), recipe.drift),
        service_(make_model_service(recipe.service)) {
    for (const ModelSpec& spec : specs_) watch(spec);
    monitor_.set_queue_capacity(recipe.service.batch.queue_requests);
    service_->set_shadow_sink([this](const RequestRecord& record) { record_shadow(record); });
    http_.emplace(recipe.serve, *service_, callbacks());
    monitor_.set_ready(true);
    console_.info("listening on " + http_->url());
  }

  /// Where it listens and what it serves, for programs that started it.
  nlohmann::json started() const {
    nlohmann::json models = nlohmann::json::object();
    for (const ModelSpec& spec : specs_) {
      models[spec.name] = service_->model_metadata(spec.name, "").at("versions").front();
    }
    return {{"url", http_->url()}, {"models", models}};
  }

  void reload() {
    reopen_access_log();
    for (const ReloadedModel& model : service_->reload()) {
      if (!model.error.empty()) {
        console_.error(model.model + " stays as it is: " + model.error);
      } else if (model.replaced) {
        console_.info(model.model + " is now version " + model.version);
      } else {
        console_.info(model.model + " is unchanged");
        continue;
      }
      monitor_.record_reload(model.model, model.error.empty());
    }
    for (const ModelSpec& spec : specs_) rewatch(spec);
  }

  /// Answers what was taken. False where the limit came first.
  bool drain() {
    monitor_.set_ready(false);
    const bool all = http_->drain(std::chrono::duration<double>(recipe_.serve.drain_seconds));
    service_->stop();
    return all;
  }

 private:
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const ModelSpec& spec : specs_) names.push_back(spec.name);
    return names;
  }

  void watch(const ModelSpec& spec) {
    const auto file = drift_files_.find(spec.name);
    if (file == drift_files_.end()) return;
    monitor_.watch_drift(spec.name,
                         read_drift_reference(file->second, sha256_of_file(spec.checkpoint)));
  }

  // A checkpoint that was replaced needs a reference that was measured with it.
  void rewatch(const ModelSpec& spec) {
    try {
      watch(spec);
    } catch (const std::exception& error) {
      console_.error("drift of " + spec.name +
                     " is still compared with the earlier reference: " + error.what());
    }
  }

  // What cannot be written any more is no reason to stop answering.
  void reopen_access_log() {
    try {
      access_log_.reopen();
    } catch (const std::exception& error) {
      console_.error(error.what());
    }
  }

  void record_shadow(const RequestRecord& record) {
    if (record.measured_error) monitor_.record_measured_error(record.model, *record.measured_error);
  }

  HttpCallbacks callbacks() {
    return {.on_request = [this](const RequestRecord& record) { monitor_.record(record); },
            .on_access = [this](const AccessLogEntry& entry) { access_log_.write(entry); },
            .in_flight = [this] { return std::make_shared<RequestInFlight>(monitor_); },
            .metrics = [this] { return with_queue_depth().prometheus_text(); },
            .status = [this] { return with_queue_depth().status_json(); },
            .status_page = [] { return kvalign::status_page(); }};
  }

  const Monitor& with_queue_depth() {
    monitor_.set_queue_depth(service_->queue_depth());
    return monitor_;
  }

  ServeRecipe recipe_;
  Console& console_;
  std::vector<ModelSpec> specs_;
  std::map<std::string, std::string> drift_files_;
  AccessLog access_log_;
  Monitor monitor_;
  std::unique_ptr<ModelService> service_;
  std::optional<HttpServer> http_;  // the first to end: its threads use all others
};

int serve(const ServeRecipe& recipe, const ServeFlags& flags) {
  const ServeSignals signals;
  Console console;
  Recipe device;
  device.device = recipe.service.device;
  device.threads = recipe.service.threads;
  console.start("serve", use_device(device), source_text(flags));
  warn_of_strangers(recipe.serve, console);
  Server server(recipe, flags.access_log, console);
  if (flags.json) print_result(server.started().dump());
  int signal = signals.next();
  for (; signal == SIGHUP; signal = signals.next()) server.reload();
  console.info("draining: what was taken is answered, for up to " +
               duration_text(recipe.serve.drain_seconds));
  signals.let_end();
  if (server.drain()) return kDone;
  console.error("stopped with requests unanswered");
  return kFailed;
}

}  // namespace

void add_serve(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("serve", "answers requests over HTTP (Open Inference Protocol)");
  auto flags = std::make_shared<ServeFlags>();
  add_flags(*command, *flags, [] { return options_help(ServeRecipe()); });
  command
      ->add_option("--access-log", flags->access_log,
                   "gets a line of JSON for each request, after what it holds")
      ->type_name("FILE");
  command->callback([=, &chosen] {
    chosen = [=] {
      return run_with_recipe<ServeRecipe>(
          *flags, [](ServeRecipe&) {},
          [&](const ServeRecipe& recipe) { return serve(recipe, *flags); });
    };
  });
}

}  // namespace kvalign::tools
