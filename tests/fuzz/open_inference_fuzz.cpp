// Feeds bytes to the readers of requests, as a head, a body with binary tensors and a body to
// generate from: whatever they are, each either reads them or throws ServeRefusal with a 4xx. The
// entry point is libFuzzer's (clang++ -fsanitize=fuzzer); tests/fuzz/mutate.cpp drives it with g++.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "kvalign/serve/open_inference.h"
#include "src/serve/http_head.h"
#include "src/serve/http_routes.h"

namespace {

using namespace kvalign;

void require(bool holds) {
  if (!holds) std::abort();  // what a fuzzer takes for a finding
}

template <class Read>
void read_or_refuse(const Read& read) {
  try {
    read();
  } catch (const ServeRefusal& refusal) {
    require(refusal.status >= 400 && refusal.status < 500);
  }
}

// What was read has the size that its shape says, and can be written again.
void check(const ServedTensor& tensor) {
  uint64_t count = 1;
  for (const int64_t size : tensor.shape) count *= static_cast<uint64_t>(size);
  require(count == 0 ? tensor.data.empty() : tensor.data.size() % count == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  const OpenInferenceLimits limits = {.max_json_bytes = 4096};
  read_or_refuse([&] {
    const HttpHead head = parse_head(text);
    find_route(head.method, head.target);
  });
  // The JSON ends at the last brace, as Inference-Header-Content-Length would say.
  const size_t end = text.rfind('}');
  const auto json_bytes = static_cast<int64_t>(end == std::string::npos ? size : end + 1);
  read_or_refuse([&] {
    const InferCall call = parse_infer(text, json_bytes, limits);
    for (const ServedTensor& tensor : call.request.inputs) check(tensor);
    write_infer_response({.outputs = call.request.inputs}, call);
  });
  read_or_refuse([&] { check(parse_generate(text, limits).inputs.at(0)); });
  return 0;
}
