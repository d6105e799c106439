// A request's way: read, guard, queue, project, certify, and, for text, continue. Each request is
// prepared and answered by its own thread; one batch is projected at a time. See the header.
//
// Shapes:  T tokens   F numbers of a token   R receiver streams   D receiver width
#include "kvalign/deploy/model_service.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/util/ParallelGuard.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "batch_queue.h"
#include "continue_text.h"
#include "guard.h"
#include "in_flight.h"
#include "model_store.h"
#include "request_certificate.h"
#include "request_input.h"
#include "served_outputs.h"
#include "served_tensors.h"
#include "shadow.h"

namespace kvalign {
namespace {

struct ProjectionJob : BatchJob {
  const ServedModel* model = nullptr;
  at::Tensor rows_TF = {};
  at::Tensor streams_RTD = {};  // result
  double project_seconds = 0;   // result: of the whole batch
};

// One product for all.
void project_batch(const std::vector<BatchJob*>& batch) {
  const auto start = BatchJob::Clock::now();
  std::vector<at::Tensor> rows;
  for (BatchJob* job : batch) rows.push_back(static_cast<ProjectionJob*>(job)->rows_TF);
  const ServedModel& model = *static_cast<ProjectionJob*>(batch.front())->model;
  const at::Tensor streams_RTD = model.project(rows.size() == 1 ? rows.front() : at::cat(rows));
  const double seconds = std::chrono::duration<double>(BatchJob::Clock::now() - start).count();
  int64_t first = 0;
  for (BatchJob* job : batch) {
    auto& projection = *static_cast<ProjectionJob*>(job);
    projection.streams_RTD = streams_RTD.narrow(1, first, job->tokens);
    projection.project_seconds = seconds;
    first += job->tokens;
  }
}

// Runs `work` as a phase of the request.
template <class Work>
auto timed(RequestRecord& record, const char* phase, Work&& work) {
  struct Clock {
    RequestRecord& record;
    const char* phase;
    BatchJob::Clock::time_point start = BatchJob::Clock::now();
    ~Clock() {
      record.phase_seconds[phase] +=
          std::chrono::duration<double>(BatchJob::Clock::now() - start).count();
    }
  } clock{record, phase};
  return work();
}

void check_request_deadline(const ServeRequest& request) {
  if (request.deadline != BatchJob::Clock::time_point{} &&
      BatchJob::Clock::now() >= request.deadline) {
    throw ServeRefusal(504, "deadline", "the request's deadline passed before it was answered");
  }
}

// A request that was read and guarded.
struct PreparedRequest {
  std::shared_ptr<const ServedModel> model = {};
  RequestInput input = {};
  ServeResponse response = {};
};

// Ids of all tokens, where the receiver may read them instead; undefined where not.
at::Tensor whole_text(const PreparedRequest& prepared) {
  const bool right_model = prepared.response.outcome == CacheOutcome::kFallbackReprefill;
  return right_model && prepared.input.position_offset == 0 ? prepared.input.token_ids
                                                            : at::Tensor();
}

class ServiceOfModels final : public ModelService {
 public:
  explicit ServiceOfModels(const ModelServiceOptions& options)
      : options_(options),
        store_(options),
        shadow_(options.shadow),
        queue_({.max_tokens = options.batch.max_tokens,
                .wait = std::chrono::duration_cast<BatchJob::Clock::duration>(
                    std::chrono::duration<double, std::milli>(options.batch.wait_ms)),
                .max_jobs = options.batch.queue_requests,
                .callers_run = at::get_num_threads() == 1},
               project_batch) {}
  ~ServiceOfModels() override { stop(); }

  bool ready() const override { return !in_flight_.is_stopped(); }
  std::vector<std::string> models() const override { return store_.names(); }
  nlohmann::json model_metadata(const std::string& model,
                                const std::string& version) const override {
    return kvalign::model_metadata(*store_.find(model, version));
  }
  bool model_ready(const std::string& model, const std::string& version) const override {
    store_.find(model, version);
    return ready();
  }

  ServeResponse infer(const ServeRequest& request) override;
  ServeResponse generate(const ServeRequest& request, const PieceSink& sink) override;

  std::vector<ReloadedModel> reload() override { return store_.reload(); }
  void stop() override {
    in_flight_.stop();
    queue_.stop();
  }
  int64_t queue_depth() const override { return queue_.num_waiting(); }
  void set_shadow_sink(std::function<void(const RequestRecord&)> sink) override {
    shadow_.set_sink(std::move(sink));
  }

 private:
  PreparedRequest prepare(const ServeRequest& request) const;
  at::Tensor project(const ServeRequest& request, PreparedRequest& prepared,
                     BatchQueue::Expected& expected);
  void certify(PreparedRequest& prepared) const;
  void measure_later(const PreparedRequest& prepared, const at::Tensor& streams_RTD);
  int64_t max_new_tokens(const ServeRequest& request) const;

  const ModelServiceOptions options_;
  ModelStore store_;
  ShadowMeter shadow_;
  std::atomic<int64_t> generating_ = 0;
  InFlight in_flight_;
  BatchQueue queue_;
};

PreparedRequest ServiceOfModels::prepare(const ServeRequest& request) const {
  // Threads of requests are many: none of them takes others to help.
  const c10::ParallelGuard one_thread(true);
  check_request_deadline(request);
  PreparedRequest prepared{.model = store_.find(request.model, request.version)};
  const ServedModel& model = *prepared.model;
  ServeResponse& response = prepared.response;
  RequestRecord& record = response.record;
  response.model = record.model = request.model;
  response.version = model.version;
  prepared.input = timed(record, "decode",
                         [&] { return read_request_input(request, model, options_.max_tokens); });
  record.tokens = prepared.input.num_tokens();
  const GuardFinding finding = timed(record, "guard", [&] {
    return inspect(request, prepared.input, model, options_.guard, record);
  });
  response.outcome = finding.outcome;
  response.reason = finding.reason;
  record.outcome = finding.outcome;
  record.reason = finding.label;
  return prepared;
}

at::Tensor ServiceOfModels::project(const ServeRequest& request, PreparedRequest& prepared,
                                    BatchQueue::Expected& expected) {
  ProjectionJob job;
  job.model = prepared.model.get();
  job.group = job.model;
  job.rows_TF = prepared.input.rows_TF;
  job.tokens = job.rows_TF.size(0);
  job.deadline = request.deadline;
  job.alone = options_.batch.bit_identical && job.tokens < job.model->identical_from_tokens;
  queue_.submit(job, expected);
  prepared.response.record.phase_seconds["queue"] = job.queue_seconds;
  prepared.response.record.phase_seconds["project"] = job.project_seconds;
  return job.streams_RTD;
}

void ServiceOfModels::certify(PreparedRequest& prepared) const {
  const c10::ParallelGuard one_thread(true);
  ServeResponse& response = prepared.response;
  response.certificate = timed(response.record, "certify", [&] {
    return certify_request(prepared.input, *prepared.model, options_.certificate, response.record);
  });
}

void ServiceOfModels::measure_later(const PreparedRequest& prepared,
                                    const at::Tensor& streams_RTD) {
  const RequestInput& input = prepared.input;
  if (!prepared.model->receiver || !input.token_ids.defined() || input.position_offset != 0 ||
      !shadow_.draw()) {
    return;
  }
  shadow_.submit({.model = prepared.model,
                  .projected_RTD = streams_RTD,
                  .token_ids = input.token_ids,
                  .num_sinks = static_cast<int64_t>(input.sinks.size()),
                  .record = prepared.response.record});
}

ServeResponse ServiceOfModels::infer(const ServeRequest& request) {
  const InFlight::Entry entry(in_flight_);
  BatchQueue::Expected expected(queue_);
  PreparedRequest prepared = prepare(request);
  check_outputs(request, *prepared.model);
  ServeResponse& response = prepared.response;
  if (response.outcome != CacheOutcome::kApplied) return response;
  const at::Tensor streams_RTD = project(request, prepared, expected);
  response.outputs = timed(response.record, "outputs", [&] {
    const c10::ParallelGuard one_thread(true);
    return outputs_of(request, *prepared.model, streams_RTD);
  });
  certify(prepared);
  check_request_deadline(request);
  measure_later(prepared, streams_RTD);
  return response;
}

int64_t ServiceOfModels::max_new_tokens(const ServeRequest& request) const {
  const int64_t limit = options_.generate.max_tokens;
  const auto found = request.parameters.find("max_tokens");
  if (found == request.parameters.end()) return limit;
  if (!found->is_number_integer() || *found < 1 || *found > limit) {
    refuse_request(request, "parameter max_tokens: expected 1 .. " + std::to_string(limit) +
                                ", got " + found->dump());
  }
  return found->get<int64_t>();
}

ServeResponse ServiceOfModels::generate(const ServeRequest& request, const PieceSink& sink) {
  const InFlight::Entry entry(in_flight_);
  const int64_t max_tokens = max_new_tokens(request);
  std::optional<BatchQueue::Expected> expected(std::in_place, queue_);
  PreparedRequest prepared = prepare(request);
  const ServedModel& model = *prepared.model;
  ServeResponse& response = prepared.response;
  if (!model.receiver) {
    refuse_request(request,
                   "expected a model with a receiver, got one without. Only infer is "
                   "answered; receivers are named in the service's options");
  }
  const RequestInput& input = prepared.input;
  const auto go_on = [&](const std::optional<KvCache>& cache, const at::Tensor& ids) {
    check_request_deadline(request);
    response.record.generated_tokens = timed(response.record, "continue", [&] {
      return continue_text(*model.receiver, cache, ids, max_tokens, sink);
    });
  };
  const GenerationSlot slot(generating_, options_.generate.concurrent);
  if (response.outcome != CacheOutcome::kApplied) {
    expected.reset();  // no batch need wait for it
    const at::Tensor ids = whole_text(prepared);
    if (ids.defined()) go_on(std::nullopt, ids);
    return response;
  }
  if (input.position_offset != 0 || input.reread.empty()) {
    refuse_request(request,
                   "input packet: expected a text from its first token, with at least the "
                   "last one re-read, got position_offset " +
                       std::to_string(input.position_offset) + " and " +
                       std::to_string(input.reread.size()) + " re-read tokens");
  }
  const at::Tensor streams_RTD = project(request, prepared, *expected);
  certify(prepared);
  measure_later(prepared, streams_RTD);
  go_on(model.receiver->packets.with_sinks(input.sinks, streams_RTD),
        at::tensor(std::vector<int64_t>(input.reread.begin(), input.reread.end()), at::kLong));
  return response;
}

}  // namespace

std::unique_ptr<ModelService> make_model_service(const ModelServiceOptions& options) {
  validate_options(options);
  return std::make_unique<ServiceOfModels>(options);
}

}  // namespace kvalign
