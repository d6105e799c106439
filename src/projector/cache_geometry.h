// Whether a cache is of the model that a projector was made for.
#pragma once

#include "kvalign/format/geometry.h"

namespace kvalign {

/// Throws c10::Error "<where>: ..." that names the first field that differs, and for an expected
/// flat cache, which has no keys and values.
void check_cache_geometry(const char* where, const KvGeometry& expected, const KvGeometry& got);

}  // namespace kvalign
