// See product.h.
#include "product.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/jit_type.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "call_graphs.h"
#include "lt_product.h"

namespace kvalign::benchmark {
namespace {

constexpr int kTrials = 3;
constexpr double kHopeless = 4;       // times the best so far: tried once
constexpr double kLongSeconds = 0.1;  // so long a call says enough
constexpr int kDeviceCalls = 20;      // of a trial: one is shorter than a device's clock can tell

const std::string kLtPrefix = "cublaslt ";

// Operators of the library that have no function in C++, which torch.compile uses.
at::Tensor call_operator(const char* name, std::vector<c10::IValue> arguments) {
  const auto schema = c10::Dispatcher::singleton().findSchema({name, ""});
  TORCH_CHECK(schema.has_value(), "this LibTorch has no ", name);
  schema->callBoxed(&arguments);
  return arguments.at(0).toTensor();
}

Product packed_by_mkldnn(const at::Tensor& weight_OF, const at::Tensor& bias_O, int64_t tokens) {
  const at::Tensor packed =
      call_operator("mkldnn::_reorder_linear_weight", {weight_OF, c10::IValue(tokens)});
  return [=](const at::Tensor& features_GTF) {
    const c10::impl::GenericList none(c10::OptionalType::create(c10::NumberType::get()));
    return call_operator("mkldnn::_linear_pointwise",
                         {features_GTF[0], packed, bias_O, "none", none, c10::IValue()})
        .unsqueeze(0);
  };
}

Product packed_by_mkl(const at::Tensor& weight_OF, const at::Tensor& bias_O, int64_t tokens) {
  const at::Tensor packed =
      call_operator("mkl::_mkl_reorder_linear_weight", {weight_OF, c10::IValue(tokens)});
  return [=](const at::Tensor& features_GTF) {
    return call_operator("mkl::_mkl_linear", {features_GTF[0], packed, weight_OF, bias_O, tokens})
        .unsqueeze(0);
  };
}

// On a device many calls as one graph: what the host needs to start them says nothing of a layout.
std::function<void()> timed_call(const Product& product, const at::Tensor& features_GTF) {
  if (!features_GTF.is_cuda()) return [&] { product(features_GTF); };
  const auto calls = [&] {
    for (int i = 0; i < kDeviceCalls; ++i) product(features_GTF);
    return std::vector<at::Tensor>();
  };
  return CallGraphs().capture(calls, features_GTF.device()).run;
}

// Of the fastest of a few calls; infinite for a layout that there is not.
double seconds_of(const std::string& layout, const at::Tensor& weight_GOF,
                  const at::Tensor& bias_GO, const at::Tensor& features_GTF,
                  const Stopwatch& stopwatch, double best_so_far) {
  try {
    const Product product = make_product(layout, weight_GOF, bias_GO, features_GTF.size(1));
    const std::function<void()> call = timed_call(product, features_GTF);
    double best = stopwatch(call);
    for (int trial = 0; trial < kTrials && best < std::min(kHopeless * best_so_far, kLongSeconds);
         ++trial) {
      best = std::min(best, stopwatch(call));
    }
    return best;
  } catch (const c10::Error&) {
    return std::numeric_limits<double>::infinity();
  }
}

std::vector<std::string> layouts_of(const at::Tensor& weight_GOF) {
  const bool is_one = weight_GOF.size(0) == 1;
  std::vector<std::string> layouts = {is_one ? "linear" : "bmm_of", is_one ? "addmm" : "bmm_fo"};
  if (is_one && weight_GOF.is_cpu()) layouts.insert(layouts.end(), {"mkldnn", "mkl"});
  for (int place = 1; weight_GOF.is_cuda() && place <= kMostLtAlgorithms; ++place) {
    layouts.push_back(kLtPrefix + std::to_string(place));
  }
  return layouts;
}

}  // namespace

Product make_product(const std::string& layout, const at::Tensor& weight_GOF,
                     const at::Tensor& bias_GO, int64_t num_tokens) {
  if (layout == "mkldnn") return packed_by_mkldnn(weight_GOF[0], bias_GO[0], num_tokens);
  if (layout == "mkl") return packed_by_mkl(weight_GOF[0], bias_GO[0], num_tokens);
  if (layout.starts_with(kLtPrefix)) {
    return make_lt_product(std::stoi(layout.substr(kLtPrefix.size())), weight_GOF, bias_GO,
                           num_tokens);
  }
  if (layout == "linear") {
    return [weight = weight_GOF[0], bias = bias_GO[0]](const at::Tensor& features_GTF) {
      return at::linear(features_GTF[0], weight, bias).unsqueeze(0);
    };
  }
  const at::Tensor transposed_GFO = weight_GOF.transpose(1, 2);
  if (layout == "addmm") {
    return [weight = transposed_GFO[0].contiguous(),
            bias = bias_GO[0]](const at::Tensor& features_GTF) {
      return at::addmm(bias, features_GTF[0], weight).unsqueeze(0);
    };
  }
  TORCH_CHECK(layout == "bmm_of" || layout == "bmm_fo", "make_product: no layout '", layout, "'");
  return [weight = layout == "bmm_fo" ? transposed_GFO.contiguous() : transposed_GFO,
          bias = bias_GO.unsqueeze(1)](const at::Tensor& features_GTF) {
    return at::baddbmm(bias, features_GTF, weight);
  };
}

std::string fastest_layout(const at::Tensor& weight_GOF, const at::Tensor& bias_GO,
                           const at::Tensor& features_GTF, const Stopwatch& stopwatch) {
  const std::vector<std::string> layouts = layouts_of(weight_GOF);
  std::string fastest = layouts.front();
  double best = std::numeric_limits<double>::infinity();
  for (const std::string& layout : layouts) {
    const double seconds = seconds_of(layout, weight_GOF, bias_GO, features_GTF, stopwatch, best);
    if (seconds < best) {
      best = seconds;
      fastest = layout;
    }
  }
  return fastest;
}

}  // namespace kvalign::benchmark
