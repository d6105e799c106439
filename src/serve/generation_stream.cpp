// Pieces from one thread to another. See the header.
#include "generation_stream.h"

#include <utility>

namespace kvalign {
namespace {

// A client that reads slowly holds the generation up, not the memory.
constexpr size_t kMostPieces = 64;

}  // namespace

GenerationStream::GenerationStream(InferenceService& service, ServeRequest request)
    : service_(service), request_(std::move(request)), thread_([this] { run(); }) {}

GenerationStream::~GenerationStream() {
  {
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void GenerationStream::run() {
  ServeResponse response;
  std::exception_ptr error;
  try {
    response =
        service_.generate(request_, [this](const GeneratedPiece& piece) { return push(piece); });
  } catch (...) {
    error = std::current_exception();  // for the thread that reads
  }
  const std::lock_guard lock(mutex_);
  response_ = std::move(response);
  error_ = error;
  is_done_ = true;
  changed_.notify_all();
}

bool GenerationStream::push(const GeneratedPiece& piece) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return is_stopped_ || pieces_.size() < kMostPieces; });
  if (is_stopped_) return false;
  pieces_.push_back(piece);
  changed_.notify_all();
  return true;
}

std::optional<GeneratedPiece> GenerationStream::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return is_done_ || !pieces_.empty(); });
  if (!pieces_.empty()) {
    GeneratedPiece piece = std::move(pieces_.front());
    pieces_.pop_front();
    changed_.notify_all();
    return piece;
  }
  if (error_) std::rethrow_exception(error_);
  return std::nullopt;
}

}  // namespace kvalign
