// One function a kind; what each computes is said in projector/. See the header for shapes.
#include "onnx_projector.h"

#include <ATen/ATen.h>

namespace kvalign {
namespace {

// The weights of one projector, by their names.
class KindWriter {
 public:
  KindWriter(OnnxBuilder& builder, Projector& module)
      : builder_(builder), module_(module), weights_(module.named_parameters()) {}

  OnnxStreams linear_residual(const OnnxStreams& x) { return norm(map("linear", x)); }

  OnnxStreams mlp(const OnnxStreams& x) {
    return norm(map("output", builder_.gelu(map("input", x))));
  }

  OnnxStreams residual_mlp(const OnnxStreams& x) {
    const OnnxStreams linear = map("linear", x);
    const OnnxStreams added = map("output", builder_.gelu(map("hidden", x)));
    return {builder_.op("Add", {linear.value, added.value}), linear.count};
  }

  OnnxStreams bidirectional(const OnnxStreams& x) { return map("expand", x); }

  OnnxStreams autoencoder(const OnnxStreams& x) { return map("decoder", map("map", x)); }

  OnnxStreams low_rank(const OnnxStreams& x) { return decode(through_wire(map("encoder", x))); }

  OnnxStreams decode(const OnnxStreams& latent) { return map("decoder", latent); }

  // Baselines without parameters are linear maps: what they make of unit vectors is their matrix.
  OnnxStreams baseline(const OnnxStreams& x) {
    const at::NoGradGuard no_gradients;
    const ProjectorShape& shape = module_.shape();
    const at::Tensor units_GFF =
        at::eye(shape.num_features).expand({shape.num_groups, -1, -1}).contiguous();
    return builder_.linear(x, "baseline", module_.forward(units_GFF).transpose(1, 2), {});
  }

 private:
  OnnxStreams map(const std::string& name, const OnnxStreams& x) {
    return builder_.linear(x, name, weights_[name + ".weight"], weights_[name + ".bias"]);
  }

  OnnxStreams norm(const OnnxStreams& x) {
    const ProjectorOptions& options = module_.options();
    if (options.norm == "none") return x;
    const at::Tensor& gamma_RD = weights_["norm.gamma"];
    return options.norm == "rms"
               ? builder_.rms_norm(x, options.norm_epsilon, gamma_RD)
               : builder_.layer_norm(x, options.norm_epsilon, gamma_RD, weights_["norm.beta"]);
  }

  // As latent_codes: QuantizeLinear divides, rounds to nearest even and saturates.
  OnnxStreams through_wire(const OnnxStreams& latent) {
    const std::string& wire = module_.options().latent_wire;
    if (wire == "float32") return latent;
    if (wire == "float16") {
      const auto cast = [&](const std::string& value, OnnxType type) {
        return builder_.op("Cast", {value}, {{"to", static_cast<int64_t>(type)}});
      };
      return {cast(cast(latent.value, OnnxType::kFloat16), OnnxType::kFloat), latent.count};
    }
    const std::string scale =
        builder_.constant("latent.scale", at::scalar_tensor(kLatentScale, at::kFloat));
    const std::string zero =
        builder_.constant("latent.zero", at::zeros({}, at::kFloat).to(at::kFloat8_e4m3fn));
    const std::string codes = builder_.op("QuantizeLinear", {latent.value, scale, zero});
    return {builder_.op("DequantizeLinear", {codes, scale, zero}), latent.count};
  }

  OnnxBuilder& builder_;
  Projector& module_;
  torch::OrderedDict<std::string, at::Tensor> weights_;
};

struct KindNodes {
  const char* kind;
  OnnxStreams (KindWriter::*write)(const OnnxStreams&);
};

constexpr KindNodes kKindNodes[] = {
    {"linear_residual", &KindWriter::linear_residual},
    {"mlp", &KindWriter::mlp},
    {"residual_mlp", &KindWriter::residual_mlp},
    {"low_rank", &KindWriter::low_rank},
    {"bidirectional", &KindWriter::bidirectional},
    {"autoencoder", &KindWriter::autoencoder},
    {"truncate", &KindWriter::baseline},
    {"pad", &KindWriter::baseline},
    {"interpolate", &KindWriter::baseline},
    {"random", &KindWriter::baseline},
};

}  // namespace

bool has_fp8_nodes(const KvProjector& projector) {
  return projector.options().kind == "low_rank" &&
         projector.options().latent_wire == "float8_e4m3fn";
}

OnnxStreams project_nodes(OnnxBuilder& builder, const KvProjector& projector,
                          const OnnxStreams& features_TGF) {
  for (const KindNodes& nodes : kKindNodes) {
    if (projector.options().kind == nodes.kind) {
      return (KindWriter(builder, projector.projector()).*nodes.write)(features_TGF);
    }
  }
  TORCH_CHECK(false, "projector kind ", projector.options().kind,
              " has no ONNX graph. Serve its checkpoint with kvalign itself");
}

OnnxStreams project_latent_nodes(OnnxBuilder& builder, const KvProjector& projector,
                                 const OnnxStreams& latent_T1r) {
  return KindWriter(builder, projector.projector()).decode(latent_T1r);
}

}  // namespace kvalign
