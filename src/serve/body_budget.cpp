// Memory for bodies. See the header.
#include "body_budget.h"

#include <string>

#include "kvalign/serve/inference_service.h"

namespace kvalign {

void BodyBudget::Share::take(int64_t bytes) {
  const int64_t left = budget_.left_.fetch_sub(bytes) - bytes;
  taken_ += bytes;
  if (left < 0) {
    throw ServeRefusal(503, "busy",
                       "HTTP: the bodies of other requests take the memory that "
                       "serve.max_buffered_bytes allows; try again");
  }
}

}  // namespace kvalign
