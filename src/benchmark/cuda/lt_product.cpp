// cuBLASLt's matrices are column by column, so that it is asked for the transpose of the output:
// [O, T] = [O, F] [F, T], of rows that lie as they are. See lt_product.h.
#include "src/benchmark/lt_product.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>
#include <cublasLt.h>

#include <array>
#include <memory>
#include <type_traits>

namespace kvalign::benchmark {
namespace {

constexpr size_t kMostWorkspaceBytes = size_t{32} << 20;

void check_lt(cublasStatus_t status, const char* function) {
  TORCH_CHECK(status == CUBLAS_STATUS_SUCCESS, "cublaslt: ", function, " failed with ",
              cublasLtGetStatusName(status), ": ", cublasLtGetStatusString(status));
}

template <auto destroy>
struct Destroy {
  template <class Object>
  void operator()(Object* object) const {
    destroy(object);
  }
};
template <class Pointer, auto destroy>
using Owner = std::unique_ptr<std::remove_pointer_t<Pointer>, Destroy<destroy>>;
using LtDescription = Owner<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using LtLayout = Owner<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using LtPreference = Owner<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

cudaDataType type_of(const at::Tensor& tensor) {
  const at::ScalarType dtype = tensor.scalar_type();
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16,
              "cublaslt: expected float32 or bfloat16, got ", dtype);
  return dtype == at::kFloat ? CUDA_R_32F : CUDA_R_16BF;
}

template <class Value>
void set(const LtDescription& description, cublasLtMatmulDescAttributes_t attribute,
         const Value& value) {
  check_lt(cublasLtMatmulDescSetAttribute(description.get(), attribute, &value, sizeof value),
           "cublasLtMatmulDescSetAttribute");
}

// Weights transposed, features as they are, a bias for each row of [O, T].
LtDescription describe_product(const at::Tensor& bias_GO) {
  cublasLtMatmulDesc_t created = nullptr;
  check_lt(cublasLtMatmulDescCreate(&created, CUBLAS_COMPUTE_32F, CUDA_R_32F),
           "cublasLtMatmulDescCreate");
  LtDescription description(created);
  set(description, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias_GO.const_data_ptr());
  set(description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(bias_GO));
  set(description, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, bias_GO.stride(0));
  return description;
}

// A batch of row-major [rows, columns], which the library sees as [columns, rows].
LtLayout layout_of_rows(cudaDataType type, int64_t batch, int64_t rows, int64_t columns) {
  cublasLtMatrixLayout_t created = nullptr;
  check_lt(cublasLtMatrixLayoutCreate(&created, type, static_cast<uint64_t>(columns),
                                      static_cast<uint64_t>(rows), columns),
           "cublasLtMatrixLayoutCreate");
  LtLayout layout(created);
  const auto count = static_cast<int32_t>(batch);
  const int64_t stride = rows * columns;
  check_lt(cublasLtMatrixLayoutSetAttribute(created, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                            sizeof count),
           "cublasLtMatrixLayoutSetAttribute");
  check_lt(cublasLtMatrixLayoutSetAttribute(created, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                            &stride, sizeof stride),
           "cublasLtMatrixLayoutSetAttribute");
  return layout;
}

LtPreference make_preference() {
  cublasLtMatmulPreference_t created = nullptr;
  check_lt(cublasLtMatmulPreferenceCreate(&created), "cublasLtMatmulPreferenceCreate");
  LtPreference preference(created);
  check_lt(cublasLtMatmulPreferenceSetAttribute(created, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                &kMostWorkspaceBytes, sizeof kMostWorkspaceBytes),
           "cublasLtMatmulPreferenceSetAttribute");
  return preference;
}

class LtProduct {
 public:
  LtProduct(int place, const at::Tensor& weight_GOF, const at::Tensor& bias_GO, int64_t num_tokens)
      : weight_GOF_(weight_GOF.contiguous()),
        bias_GO_(bias_GO.contiguous()),
        output_sizes_{weight_GOF.size(0), num_tokens, weight_GOF.size(1)} {
    const cudaDataType type = type_of(weight_GOF_);
    const int64_t groups = weight_GOF.size(0);
    const int64_t outputs = weight_GOF.size(1), features = weight_GOF.size(2);
    description_ = describe_product(bias_GO_);
    weight_layout_ = layout_of_rows(type, groups, outputs, features);
    features_layout_ = layout_of_rows(type, groups, num_tokens, features);
    output_layout_ = layout_of_rows(type, groups, num_tokens, outputs);
    choose_algorithm(place);
  }

  at::Tensor run(const at::Tensor& features_GTF) const {
    const c10::cuda::CUDAGuard guard(features_GTF.device());
    at::Tensor output_GTO = at::empty(output_sizes_, features_GTF.options());
    at::Tensor workspace;
    if (workspace_bytes_ > 0) {
      workspace = at::empty({static_cast<int64_t>(workspace_bytes_)},
                            features_GTF.options().dtype(at::kByte));
    }
    const float one = 1, zero = 0;
    check_lt(cublasLtMatmul(at::cuda::getCurrentCUDABlasLtHandle(), description_.get(), &one,
                            weight_GOF_.const_data_ptr(), weight_layout_.get(),
                            features_GTF.const_data_ptr(), features_layout_.get(), &zero,
                            output_GTO.const_data_ptr(), output_layout_.get(),
                            output_GTO.data_ptr(), output_layout_.get(), &algorithm_,
                            workspace.defined() ? workspace.data_ptr() : nullptr, workspace_bytes_,
                            at::cuda::getCurrentCUDAStream()),
             "cublasLtMatmul");
    return output_GTO;
  }

 private:
  void choose_algorithm(int place) {
    const c10::cuda::CUDAGuard guard(weight_GOF_.device());
    const LtPreference preference = make_preference();
    std::array<cublasLtMatmulHeuristicResult_t, kMostLtAlgorithms> proposed = {};
    int found = 0;
    check_lt(cublasLtMatmulAlgoGetHeuristic(
                 at::cuda::getCurrentCUDABlasLtHandle(), description_.get(), weight_layout_.get(),
                 features_layout_.get(), output_layout_.get(), output_layout_.get(),
                 preference.get(), kMostLtAlgorithms, proposed.data(), &found),
             "cublasLtMatmulAlgoGetHeuristic");
    TORCH_CHECK(1 <= place && place <= found, "cublaslt: expected an algorithm of 1 to ", found,
                ", which are proposed for outputs of ", at::IntArrayRef(output_sizes_), ", got ",
                place);
    const auto& chosen = proposed[static_cast<size_t>(place - 1)];
    check_lt(chosen.state, "the algorithm");
    algorithm_ = chosen.algo;
    workspace_bytes_ = chosen.workspaceSize;
  }

  at::Tensor weight_GOF_, bias_GO_;
  std::array<int64_t, 3> output_sizes_;
  LtDescription description_;
  LtLayout weight_layout_, features_layout_, output_layout_;
  cublasLtMatmulAlgo_t algorithm_ = {};
  size_t workspace_bytes_ = 0;
};

}  // namespace

Product make_lt_product(int place, const at::Tensor& weight_GOF, const at::Tensor& bias_GO,
                        int64_t num_tokens) {
  TORCH_CHECK(weight_GOF.is_cuda(), "cublaslt: expected weights on a CUDA device, got ",
              weight_GOF.device());
  const auto product = std::make_shared<const LtProduct>(place, weight_GOF, bias_GO, num_tokens);
  return [product](const at::Tensor& features_GTF) { return product->run(features_GTF); };
}

}  // namespace kvalign::benchmark
