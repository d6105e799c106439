// A service whose requests the monitor sees while they are in flight.
#pragma once

#include <string>
#include <vector>

#include "kvalign/monitor/monitor.h"
#include "kvalign/serve/inference_service.h"

namespace kvalign::tools {

class CountedService : public InferenceService {
 public:
  /// Both outlive this.
  CountedService(InferenceService& service, Monitor& monitor)
      : service_(service), monitor_(monitor) {}

  bool ready() const override { return service_.ready(); }
  std::vector<std::string> models() const override { return service_.models(); }
  nlohmann::json model_metadata(const std::string& model,
                                const std::string& version) const override {
    return service_.model_metadata(model, version);
  }
  bool model_ready(const std::string& model, const std::string& version) const override {
    return service_.model_ready(model, version);
  }
  ServeResponse infer(const ServeRequest& request) override {
    const RequestInFlight in_flight(monitor_);
    return service_.infer(request);
  }
  ServeResponse generate(const ServeRequest& request, const PieceSink& sink) override {
    const RequestInFlight in_flight(monitor_);
    return service_.generate(request, sink);
  }

 private:
  InferenceService& service_;
  Monitor& monitor_;
};

}  // namespace kvalign::tools
