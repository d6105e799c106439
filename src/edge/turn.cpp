// Cosines by reduction to [-pi/4, pi/4] and the polynomials of fdlibm (Sun Microsystems 1993,
// k_cos.c and k_sin.c), in float64 additions and multiplications alone.
#include "turn.h"

namespace kvalign {
namespace {

// pi/2 in three parts; 27 bits in the first two, so that their products with a number of quarters
// below 2^24 are exact.
constexpr double kQuarter1 = 0x1.921fb54p+0;
constexpr double kQuarter2 = 0x1.10b4610p-30;
constexpr double kQuarter3 = 0x1.a62633145c06ep-58;
constexpr double kQuartersPerRadian = 0x1.45f306dc9c883p-1;

double sine(double x) noexcept {
  const double z = x * x;
  const double r = 8.33333333332248946124e-03 +
                   z * (-1.98412698298579493134e-04 +
                        z * (2.75573137070700676789e-06 +
                             z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)));
  return x + z * x * (-1.66666666666666324348e-01 + z * r);
}

double cosine(double x) noexcept {
  const double z = x * x;
  const double r =
      z * (4.16666666666666019037e-02 +
           z * (-1.38888888888741095749e-03 +
                z * (2.48015872894767294178e-05 +
                     z * (-2.75573143513906633035e-07 +
                          z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
  return 1.0 - (0.5 * z - z * r);
}

// The two channels of each pair, `step` apart from the next pair's; no element is in both.
template <uint32_t step>
void turn_pairs(const CosSin* __restrict table, uint32_t num_pairs, float* __restrict first,
                float* __restrict second) noexcept {
  for (uint32_t pair = 0; pair < num_pairs; ++pair) {
    const float a = first[pair * step];
    const float b = second[pair * step];
    first[pair * step] = a * table[pair].cos + b * table[pair].sin;
    second[pair * step] = b * table[pair].cos - a * table[pair].sin;
  }
}

}  // namespace

CosSin cos_sin(float angle) noexcept {
  const double exact = angle;
  const auto quarters = static_cast<int32_t>(exact * kQuartersPerRadian + 0.5);
  const double n = quarters;
  const double x = ((exact - n * kQuarter1) - n * kQuarter2) - n * kQuarter3;
  const auto s = static_cast<float>(sine(x));
  const auto c = static_cast<float>(cosine(x));
  switch (quarters & 3) {
    case 0:
      return {c, s};
    case 1:
      return {-s, c};
    case 2:
      return {-c, -s};
    default:
      return {s, -c};
  }
}

void make_turn_table(const Turn& turn, uint64_t first_position, uint32_t count,
                     CosSin* table) noexcept {
  for (uint32_t token = 0; token < count; ++token) {
    const auto position = static_cast<float>(first_position + token);
    for (uint32_t pair = 0; pair < turn.num_pairs; ++pair) {
      *table++ = cos_sin(position * turn.inverse_frequencies[pair]);
    }
  }
}

void turn_back(const Turn& turn, const CosSin* table, uint32_t num_kv_heads, uint32_t head_dim,
               float* row) noexcept {
  for (uint32_t head = 0; head < num_kv_heads; ++head, row += head_dim) {
    if (turn.interleaved) {
      turn_pairs<2>(table, turn.num_pairs, row, row + 1);
    } else {
      turn_pairs<1>(table, turn.num_pairs, row, row + turn.num_pairs);
    }
  }
}

}  // namespace kvalign
