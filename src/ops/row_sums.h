// The two passes of row_products.h over a row in memory, with the CPU's vector instructions.
#pragma once

#include <cstdint>

namespace kvalign {

// Of `width` numbers each: sums[0 .. 3] = of first^2, second^2, first * second and (first -
// second)^2.
void sum_row(const float* first, const float* second, int64_t width, double* sums);

// output[d] = first_factor first[d] + second_factor second[d]
void combine_row(const float* first, float first_factor, const float* second, float second_factor,
                 int64_t width, float* output);

}  // namespace kvalign
