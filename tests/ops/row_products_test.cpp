// Sums and gradients against ATen in float64, whatever width, strides and dtype.
#include "kvalign/ops/row_products.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kvalign/core/random.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

struct RowPair {
  at::Tensor first, second;  // [R, T, D]
};

RowPair random_rows(int64_t streams, int64_t tokens, int64_t width, at::ScalarType dtype) {
  const at::Generator generator = make_generator(width);
  const auto draw = [&] { return at::randn({streams, tokens, width}, generator).to(dtype); };
  return {draw(), draw()};
}

// What row_products says it returns, and the gradient of a sum with a weight for each row.
void expect_row_products(const RowPair& rows, double tolerance) {
  const at::Tensor weight_RT =
      at::arange(1, rows.first.size(0) * rows.first.size(1) + 1, at::kDouble)
          .view({rows.first.size(0), rows.first.size(1)});
  const auto weighted = [&](const at::Tensor& squares, const at::Tensor& products,
                            const at::Tensor& differences) {
    return (weight_RT * (squares - 3 * products + 0.5 * differences)).sum();
  };
  at::Tensor exact = rows.first.detach().to(at::kDouble).requires_grad_();
  const at::Tensor other = rows.second.to(at::kDouble);
  const at::Tensor squares = exact.square().sum(2), products = (exact * other).sum(2);
  const at::Tensor differences = (exact - other).square().sum(2);
  weighted(squares, products, differences).backward();

  at::Tensor first = rows.first.detach().requires_grad_();
  const RowProducts got = row_products(first, rows.second);
  weighted(got.first_squares, got.products, got.differences).backward();
  const auto near = [&](const at::Tensor& value, const at::Tensor& expected) {
    const at::Tensor scale = (squares + other.square().sum(2)).detach();
    return ((value - expected).abs() <= tolerance * scale).all().item<bool>();
  };
  EXPECT_EQ(got.products.scalar_type(), at::kDouble);
  EXPECT_TRUE(near(got.first_squares, squares));
  EXPECT_TRUE(near(got.second_squares, other.square().sum(2)));
  EXPECT_TRUE(near(got.products, products));
  EXPECT_TRUE(near(got.differences, differences));
  EXPECT_LE((first.grad().to(at::kDouble) - exact.grad()).norm().item<double>(),
            tolerance * exact.grad().norm().item<double>());
}

// Sums of at most 512 numbers in float32: 512 / 4 lanes roundings of half a unit at most, 2^-24
// each, before float64 takes over.
TEST(RowProducts, EqualFloat64) {
  for (const int64_t width : {1, 7, 512, 513, 4096}) {
    SCOPED_TRACE(width);
    expect_row_products(random_rows(2, 3, width, at::kFloat), 128 * 0x1p-24);
    expect_row_products(random_rows(2, 3, width, at::kDouble), 1e-14);
  }
}

TEST(RowProducts, ReadStridedRowsInPlace) {
  RowPair rows = random_rows(5, 3, 33, at::kFloat);
  rows.first = rows.first.transpose(0, 1);
  rows.second = rows.second.transpose(0, 1).contiguous();
  expect_row_products(rows, 128 * 0x1p-24);
  at::Tensor first = rows.first.detach().requires_grad_();
  row_products(first, rows.second).products.sum().backward();
  EXPECT_EQ(first.grad().strides(), rows.first.strides());
  // Gaps between elements, and one row for all.
  rows.first = random_rows(3, 5, 66, at::kFloat).first.slice(2, 0, 66, 2);
  rows.second = rows.second.narrow(0, 0, 1).expand({3, 5, 33});
  expect_row_products(rows, 128 * 0x1p-24);
}

TEST(RowProducts, OfEqualRowsDifferByNothing) {
  const RowPair rows = random_rows(1, 4, 1000, at::kFloat);
  EXPECT_EQ(row_products(rows.first, rows.first).differences.abs().max().item<double>(), 0.0);
  EXPECT_EQ(row_products(rows.first.narrow(1, 0, 0), rows.first.narrow(1, 0, 0)).products.numel(),
            0);
}

TEST(RowProducts, RefuseWhatDiffers) {
  const RowPair rows = random_rows(1, 4, 8, at::kFloat);
  EXPECT_THROWS_WITH(row_products(rows.first, rows.second.narrow(2, 0, 7)), "[1, 4, 7]");
  EXPECT_THROWS_WITH(row_products(rows.first, rows.second.to(at::kDouble)), "Double [1, 4, 8]");
  EXPECT_THROWS_WITH(row_products(rows.first[0], rows.second[0]), "[streams, tokens, width]");
}

}  // namespace
}  // namespace kvalign
