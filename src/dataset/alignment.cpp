// Alignment by span ends, and the gathering of sender rows by it.
//
// Shapes: S streams, U sender tokens, T receiver tokens, d width
#include "kvalign/dataset/alignment.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "aligned_rows.h"

namespace kvalign {
namespace {

void check_ends(const at::Tensor& ends, const char* side) {
  TORCH_CHECK(ends.defined() && ends.scalar_type() == at::kInt && ends.dim() == 1 &&
                  ends.numel() > 0 && ends.is_contiguous() && ends.is_cpu(),
              "align_tokens: expected contiguous int32 ", side, " ends [tokens] on the CPU, got ",
              ends.defined() ? c10::str(ends.scalar_type(), " ", ends.sizes()) : "nothing", ".");
  const int32_t* values = ends.const_data_ptr<int32_t>();
  const int32_t* place = std::is_sorted_until(values, values + ends.numel());
  TORCH_CHECK(place == values + ends.numel(), "align_tokens: expected ", side,
              " ends that never decrease, got ", *(place - 1), " and then ", *place, " at token ",
              place - values, ".");
}

}  // namespace

AlignmentReading alignment_reading(const std::string& name) {
  TORCH_CHECK(name == "last" || name == "mean", "alignment: expected \"last\" or \"mean\", got \"",
              name, "\".");
  return name == "last" ? AlignmentReading::kLast : AlignmentReading::kMean;
}

at::Tensor align_tokens(const at::Tensor& sender_ends, const at::Tensor& receiver_ends) {
  check_ends(sender_ends, "sender");
  check_ends(receiver_ends, "receiver");
  const int64_t num_sender = sender_ends.size(0), num_receiver = receiver_ends.size(0);
  const int32_t* sender = sender_ends.const_data_ptr<int32_t>();
  const int32_t* receiver = receiver_ends.const_data_ptr<int32_t>();
  at::Tensor alignment_T = at::empty({num_receiver}, at::kInt);
  int32_t* alignment = alignment_T.mutable_data_ptr<int32_t>();
  int64_t last = 0;
  for (int64_t t = 0; t < num_receiver; ++t) {
    while (last + 1 < num_sender && sender[last + 1] <= receiver[t]) ++last;
    alignment[t] = static_cast<int32_t>(last);
  }
  return alignment_T;
}

at::Tensor read_aligned(const at::Tensor& streams_SUd, const at::Tensor& alignment_T,
                        AlignmentReading reading) {
  TORCH_CHECK(streams_SUd.defined() && streams_SUd.dim() == 3 && streams_SUd.is_floating_point() &&
                  streams_SUd.is_cpu(),
              "read_aligned: expected floating streams [streams, tokens, width] on the CPU, got ",
              streams_SUd.defined() ? c10::str(streams_SUd.scalar_type(), " ", streams_SUd.sizes())
                                    : "nothing",
              ".");
  const int64_t num_streams = streams_SUd.size(0), num_sender = streams_SUd.size(1);
  const int64_t width = streams_SUd.size(2);
  TORCH_CHECK(alignment_T.defined() && alignment_T.scalar_type() == at::kInt &&
                  alignment_T.dim() == 1 && alignment_T.is_contiguous() && alignment_T.is_cpu(),
              "read_aligned: expected a contiguous int32 alignment [receiver tokens] on the CPU.");
  const int64_t num_receiver = alignment_T.size(0);
  const int32_t* alignment = alignment_T.const_data_ptr<int32_t>();
  check_alignment(alignment, num_receiver, num_sender, "read_aligned: alignment: ");
  const at::Tensor rows_SUd = streams_SUd.to(at::kFloat).contiguous();
  at::Tensor aligned_STd = at::empty({num_streams, num_receiver, width}, at::kFloat);
  for (int64_t stream = 0; stream < num_streams; ++stream) {
    gather_aligned_rows(rows_SUd.const_data_ptr<float>() + stream * num_sender * width, 0, width,
                        AlignedTokens{alignment, 0, num_receiver, reading},
                        aligned_STd.mutable_data_ptr<float>() + stream * num_receiver * width);
  }
  return aligned_STd;
}

void check_alignment(const int32_t* alignment, int64_t num_receiver, int64_t num_sender,
                     const std::string& where) {
  for (int64_t t = 0; t < num_receiver; ++t) {
    TORCH_CHECK(alignment[t] >= 0 && alignment[t] < num_sender, where,
                "expected sender tokens from 0 to ", num_sender - 1, ", got ", alignment[t],
                " at token ", t, ".");
    TORCH_CHECK(t == 0 || alignment[t] >= alignment[t - 1], where,
                "expected numbers that never decrease, got ", alignment[t - 1], " and then ",
                alignment[t], " at token ", t, ".");
  }
}

int64_t first_aligned_row(const AlignedTokens& tokens, int64_t token) {
  const int64_t own = tokens.alignment[token];
  if (tokens.reading == AlignmentReading::kLast) return own;
  const int64_t after_previous = token == 0 ? 0 : tokens.alignment[token - 1] + int64_t{1};
  return std::min(after_previous, own);
}

void gather_aligned_rows(const float* sender_Ud, int64_t first_row, int64_t width,
                         const AlignedTokens& tokens, float* output_Td) {
  for (int64_t t = tokens.first; t < tokens.first + tokens.count; ++t, output_Td += width) {
    const int64_t begin = first_aligned_row(tokens, t), end = tokens.alignment[t] + int64_t{1};
    const float* row = sender_Ud + (begin - first_row) * width;
    std::copy(row, row + width, output_Td);
    for (int64_t i = begin + 1; i < end; ++i) {
      row += width;
      for (int64_t channel = 0; channel < width; ++channel) output_Td[channel] += row[channel];
    }
    if (end - begin == 1) continue;
    const float scale = 1 / static_cast<float>(end - begin);
    for (int64_t channel = 0; channel < width; ++channel) output_Td[channel] *= scale;
  }
}

}  // namespace kvalign
