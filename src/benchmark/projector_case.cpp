// See projector_case.h.
#include "projector_case.h"

#include <ATen/ATen.h>

#include <memory>

#include "call_graphs.h"
#include "eager_projection.h"
#include "kvalign/core/random.h"
#include "kvalign/evaluate/cost.h"
#include "kvalign/projector/frozen_projector.h"
#include "product.h"

namespace kvalign::benchmark {
namespace {

// The products of a projector's stages; layouts are chosen once a case, for all its buffers.
class Products {
 public:
  Products(const EagerProjection& eager, const at::Tensor& sender_STd,
           std::vector<std::string>& layouts, const Stopwatch& stopwatch)
      : features_GTF_(eager.features(sender_STd)) {
    at::Tensor input_GTF = features_GTF_;
    for (size_t i = 0; i < eager.stages().size(); ++i) {
      const auto& [weight_GOF, bias_GO] = eager.stages()[i];
      if (layouts.size() == i) {
        layouts.push_back(fastest_layout(weight_GOF, bias_GO, input_GTF, stopwatch));
      }
      products_.push_back(make_product(layouts[i], weight_GOF, bias_GO, input_GTF.size(1)));
      input_GTF = products_.back()(input_GTF);
    }
  }

  at::Tensor run() const {
    at::Tensor output = features_GTF_;
    for (const Product& product : products_) output = product(output);
    return output;
  }

 private:
  at::Tensor features_GTF_;
  std::vector<Product> products_;
};

at::Tensor products_in_double(const EagerProjection& eager, const at::Tensor& sender_STd) {
  at::Tensor output = eager.features(sender_STd).to(at::kDouble);
  for (const LinearStage& stage : eager.stages()) {
    output = at::baddbmm(stage.bias_GO.to(at::kDouble).unsqueeze(1), output,
                         stage.weight_GOF.to(at::kDouble).transpose(1, 2));
  }
  return output;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// One projector a stream, of that stream's weights.
Subject separate_calls(const KvProjector& projector, const at::Tensor& features_GTF,
                       at::ScalarType dtype, std::function<std::vector<at::Tensor>()> reference) {
  const int64_t streams = projector.plan().num_streams();
  const int64_t streams_per_group = streams / projector.plan().num_groups();
  std::vector<std::function<at::Tensor()>> calls;
  for (int64_t r = 0; r < streams; ++r) {
    ProjectorOptions options = projector.options();
    options.layer_map = {};
    const KvProjector one(options, flat_geometry(features_GTF.size(2)),
                          flat_geometry(projector.receiver().width()));
    one.projector().to(features_GTF.device());
    const auto all = projector.projector().named_parameters();
    for (auto& parameter : one.projector().named_parameters()) {
      parameter.value().copy_(all[parameter.key()].narrow(0, r, 1));
    }
    calls.emplace_back(
        [project = our_projection(one, dtype),
         input = features_GTF.narrow(0, r / streams_per_group, 1)] { return project(input)[0]; });
  }
  return {.name = "separate",
          .run =
              [calls] {
                std::vector<at::Tensor> outputs;
                for (const auto& call : calls) outputs.push_back(call());
                return outputs;
              },
          .reference = [reference] { return reference()[0].unbind(0); },
          .is_baseline = true,
          .detail = std::to_string(streams) + " calls"};
}

// What the sets of buffers of one case have in common.
struct SharedBySets {
  std::vector<std::string> layouts;  ///< of the products, once they are chosen
  CallGraphs graphs;
};

std::vector<Subject> make_subjects(const ProjectorShapeCase& shape, at::Device device,
                                   const Stopwatch& stopwatch, uint64_t seed,
                                   SharedBySets& shared) {
  const KvProjector projector =
      random_projector(shape.options, shape.sender, shape.receiver, shape.dtype, device, seed);
  const auto eager = std::make_shared<EagerProjection>(projector, shape.dtype);
  const at::Tensor sender_STd = random_tensor(
      {num_streams(shape.sender), shape.sequences * shape.tokens, shape.sender.width()},
      shape.dtype, device, derive_seed(seed, 1));
  const auto products = std::make_shared<Products>(*eager, sender_STd, shared.layouts, stopwatch);
  const auto reference = made_once([=] {
    return std::vector{EagerProjection(projector, at::kDouble).project(sender_STd.to(at::kDouble))};
  });
  std::vector<Subject> subjects = {
      {.name = "ours",
       .run = [project = our_projection(projector, shape.dtype),
               sender_STd] { return std::vector{project(sender_STd)}; },
       .reference = reference},
      {.name = "eager",
       .run = [=] { return std::vector{eager->project(sender_STd)}; },
       .reference = reference,
       .is_baseline = true},
      {.name = "gemm",
       .run = [=] { return std::vector{products->run()}; },
       .reference = [=] { return std::vector{products_in_double(*eager, sender_STd)}; },
       .is_baseline = true,
       .detail = joined(shared.layouts)}};
  if (device.is_cuda()) {
    for (const size_t place : {0, 2}) {
      subjects.push_back(in_graph(subjects[place], shared.graphs, device));
    }
  }
  if (shape.with_separate_calls) {
    subjects.push_back(
        separate_calls(projector, eager->features(sender_STd), shape.dtype, reference));
  }
  return subjects;
}

Work work_of(const ProjectorShapeCase& shape) {
  const FeaturePlan plan(shape.sender, shape.receiver, shape.options.layer_map);
  const ProjectorSize size{.kind = shape.options.kind,
                           .norm = shape.options.norm,
                           .hidden_size = shape.options.hidden_size,
                           .rank = shape.options.rank,
                           .num_groups = plan.num_groups(),
                           .num_features = plan.num_features(),
                           .num_streams = plan.num_streams(),
                           .width = shape.receiver.width(),
                           .sender_width = num_streams(shape.sender) * shape.sender.width()};
  const auto [encode, decode] = projection_work(
      size, static_cast<double>(shape.sequences * shape.tokens), dtype_name(shape.dtype));
  return {.flops = encode.flops + decode.flops,
          .weight_bytes = encode.weight_bytes + decode.weight_bytes,
          .activation_bytes = encode.activation_bytes + decode.activation_bytes};
}

std::string tokens_text(const ProjectorShapeCase& shape) {
  const std::string sequences = shape.sequences == 1 ? "" : std::to_string(shape.sequences) + " x ";
  return sequences + std::to_string(shape.tokens) + (shape.tokens == 1 ? " token" : " tokens");
}

}  // namespace

Case projector_case(const ProjectorShapeCase& shape, at::Device device,
                    const Stopwatch& stopwatch) {
  const Work work = work_of(shape);
  const auto shared = std::make_shared<SharedBySets>();
  return {.suite = shape.suite,
          .name = shape.name + ", " + tokens_text(shape),
          .dtype = shape.dtype,
          .flops = work.flops,
          .bytes = work.bytes(),
          .make = [=](uint64_t seed) {
            return make_subjects(shape, device, stopwatch, seed, *shared);
          }};
}

KvProjector random_projector(const ProjectorOptions& options, const KvGeometry& sender,
                             const KvGeometry& receiver, at::ScalarType dtype, at::Device device,
                             uint64_t seed) {
  ProjectorOptions plain = options;
  plain.standardise_features = plain.standardise_targets = false;
  plain.seed = static_cast<int64_t>(seed);
  const KvProjector projector(plain, sender, receiver);
  at::Generator generator = make_generator(derive_seed(seed, 2));
  for (auto& parameter : projector.projector().parameters()) {
    parameter.requires_grad_(false);
    parameter.add_(at::randn(parameter.sizes(), generator), 0.02);
    parameter.copy_(parameter.to(dtype));
  }
  projector.projector().to(device);
  return projector;
}

std::function<at::Tensor(const at::Tensor&)> our_projection(const KvProjector& projector,
                                                            at::ScalarType dtype) {
  const auto frozen = std::make_shared<const FrozenProjector>(projector, dtype);
  return [frozen](const at::Tensor& sender_STd) { return frozen->project(sender_STd); };
}

std::function<at::Tensor(const at::Tensor&)> our_latent_projection(const KvProjector& projector,
                                                                   at::ScalarType dtype) {
  const auto frozen = std::make_shared<const FrozenProjector>(projector, dtype);
  return [frozen](const at::Tensor& latent_1Tr) { return frozen->project_latent(latent_1Tr); };
}

at::Tensor random_tensor(at::IntArrayRef sizes, at::ScalarType dtype, at::Device device,
                         uint64_t seed) {
  return at::randn(sizes, make_generator(seed)).to(device, dtype);
}

std::function<std::vector<at::Tensor>()> made_once(std::function<std::vector<at::Tensor>()> make) {
  return [make = std::move(make), made = std::make_shared<std::vector<at::Tensor>>()] {
    if (made->empty()) *made = make();
    return *made;
  };
}

KvGeometry plain_geometry(int64_t num_layers, int64_t num_kv_heads, int64_t head_dim) {
  KvGeometry geometry;
  geometry.model = "random";
  geometry.num_layers = num_layers;
  geometry.num_kv_heads = num_kv_heads;
  geometry.head_dim = head_dim;
  return geometry;
}

KvGeometry flat_geometry(int64_t width) {
  return plain_geometry(1, 1, width);
}

}  // namespace kvalign::benchmark
