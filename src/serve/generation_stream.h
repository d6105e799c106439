// A generation that runs in a thread of its own and is read piece by piece: a server must know
// whether it is refused before it says 200. Private to serve/.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "kvalign/serve/inference_service.h"

namespace kvalign {

class GenerationStream {
 public:
  GenerationStream(InferenceService& service, ServeRequest request);
  ~GenerationStream();  ///< stops the generation and waits for it
  GenerationStream(const GenerationStream&) = delete;
  GenerationStream& operator=(const GenerationStream&) = delete;

  const ServeRequest& request() const { return request_; }

  /// The next piece, none behind the last. Throws what generate() threw.
  std::optional<GeneratedPiece> next();

  /// What generate() returned; there once next() gave none.
  const ServeResponse& response() const { return response_; }

 private:
  void run();
  bool push(const GeneratedPiece& piece);

  InferenceService& service_;
  const ServeRequest request_;
  ServeResponse response_;
  std::exception_ptr error_;
  std::deque<GeneratedPiece> pieces_;
  bool is_done_ = false;
  bool is_stopped_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;  // last: it uses all of the others
};

}  // namespace kvalign
