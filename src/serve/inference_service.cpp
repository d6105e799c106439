// The interface's one symbol. See the header.
#include "kvalign/serve/inference_service.h"

namespace kvalign {

InferenceService::~InferenceService() = default;

}  // namespace kvalign
