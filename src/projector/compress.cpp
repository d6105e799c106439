// The weighted map and its folding. See compress.h.
#include "compress.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "kvalign/core/random.h"
#include "stacked_linear.h"

namespace kvalign {
namespace {

// Lengths of the sequences, after all checks of the offsets.
std::vector<int64_t> lengths_of(const at::Tensor& offsets, int64_t num_tokens) {
  TORCH_CHECK(offsets.dim() == 1 && offsets.scalar_type() == at::kLong && offsets.is_cpu() &&
                  offsets.size(0) >= 2,
              "compress: expected sequence_offsets int64 [sequences + 1] on the CPU, got ",
              offsets.scalar_type(), " ", offsets.sizes(), " on ", offsets.device());
  const at::Tensor contiguous = offsets.contiguous();
  const int64_t* begin = contiguous.const_data_ptr<int64_t>();
  const int64_t count = offsets.size(0) - 1;
  TORCH_CHECK(begin[0] == 0 && begin[count] == num_tokens,
              "compress: expected sequence_offsets from 0 to ", num_tokens, " tokens, got ",
              begin[0], " to ", begin[count]);
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < count; ++i) {
    TORCH_CHECK(begin[i + 1] > begin[i], "compress: sequence ", i, " has ", begin[i + 1] - begin[i],
                " tokens; expected at least 1");
    lengths.push_back(begin[i + 1] - begin[i]);
  }
  return lengths;
}

class Compress : public Projector {
 public:
  Compress(const ProjectorOptions& options, const ProjectorShape& shape)
      : Projector(options, shape), mean_one_(options.compress_weights == "mean_one") {
    TORCH_CHECK(mean_one_ || options.compress_weights == "sum_one",
                "bidirectional: expected compress_weights mean_one or sum_one, got '",
                options.compress_weights, "'");
    // Not the numbers that the way there starts with.
    at::Generator generator = make_generator(derive_seed(options.seed, 1));
    const double limit = 1.0 / std::sqrt(static_cast<double>(shape.num_features));
    weight_SdF_ =
        register_parameter("weight", at::empty({shape.num_streams, shape.width, shape.num_features})
                                         .uniform_(-limit, limit, generator));
    bias_Sd_ = register_parameter("bias", at::zeros({shape.num_streams, shape.width}));
    attention_SF_ =
        register_parameter("attention", at::zeros({shape.num_streams, shape.num_features}));
    centre_GF_ = register_buffer("centre", at::zeros({shape.num_groups, shape.num_features}));
  }

 protected:
  at::Tensor project(const at::Tensor& features_GTF) override {
    return project_sequences(features_GTF, at::tensor({int64_t{0}, features_GTF.size(1)}));
  }

  at::Tensor project_sequences(const at::Tensor& features_GTF,
                               const at::Tensor& sequence_offsets) override {
    const at::Tensor weights_ST1 = token_weights(features_GTF, sequence_offsets);
    const at::Tensor mapped_STd =
        stacked_linear(features_GTF - centre_GF_.unsqueeze(1), weight_SdF_, /*bias_RD=*/{});
    return with_output_statistics(weights_ST1 * mapped_STd + bias_Sd_.unsqueeze(1));
  }

  void fold_features(const Statistics& statistics) override {
    const at::NoGradGuard no_gradients;
    const at::Tensor scale_GF = statistics.scale.to(at::kDouble);
    centre_GF_.copy_(statistics.mean.to(at::kDouble) + scale_GF * centre_GF_.to(at::kDouble));
    for (at::Tensor* linear : {&weight_SdF_, &attention_SF_}) {
      const at::Tensor rows_GOF =
          linear->view({scale_GF.size(0), -1, scale_GF.size(1)}).to(at::kDouble);
      linear->copy_((rows_GOF / scale_GF.unsqueeze(1)).view(linear->sizes()));
    }
  }

  void fold_outputs(const Statistics& statistics) override {
    const at::NoGradGuard no_gradients;
    const at::Tensor scale_Sd = statistics.scale.to(at::kDouble);
    weight_SdF_.copy_(weight_SdF_.to(at::kDouble) * scale_Sd.unsqueeze(2));
    bias_Sd_.copy_(bias_Sd_.to(at::kDouble) * scale_Sd + statistics.mean.to(at::kDouble));
  }

 private:
  at::Tensor token_weights(const at::Tensor& features_GTF, const at::Tensor& sequence_offsets) {
    const at::Tensor logits_ST1 =
        stacked_linear(features_GTF, attention_SF_.unsqueeze(1), /*bias_RD=*/{});
    std::vector<at::Tensor> weights;
    for (const at::Tensor& logits_SN1 :
         logits_ST1.split_with_sizes(lengths_of(sequence_offsets, features_GTF.size(1)), 1)) {
      const at::Tensor softmax_SN1 = logits_SN1.softmax(1);
      weights.push_back(mean_one_ ? softmax_SN1 * static_cast<double>(logits_SN1.size(1))
                                  : softmax_SN1);
    }
    return at::cat(weights, 1);
  }

  bool mean_one_;
  at::Tensor weight_SdF_, bias_Sd_, attention_SF_, centre_GF_;
};

}  // namespace

std::shared_ptr<Projector> make_compress(const ProjectorOptions& options,
                                         const ProjectorShape& shape) {
  return std::make_shared<Compress>(options, shape);
}

}  // namespace kvalign
