// Suite cache: what stands between a packet and the receiver's first new token. Codes of 512
// latents become the receiver's cache, keys turned to their positions by a table that is there
// before the packet is; beside it the prefill that this replaces, where a receiver is at hand.
//
// Shapes:  T tokens   r rank   L layers   N kv heads   H head dim
#include <ATen/ATen.h>

#include <memory>

#include "call_graphs.h"
#include "eager_projection.h"
#include "kvalign/core/random.h"
#include "kvalign/evaluate/cost.h"
#include "kvalign/model/decoder.h"
#include "kvalign/ops/rope.h"
#include "projector_case.h"
#include "qwen_pair.h"
#include "suites.h"

namespace kvalign::benchmark {
namespace {

constexpr int64_t kTokens = 512, kRank = 512;

ProjectorOptions latent_options() {
  return {.kind = "low_rank",
          .norm = "none",
          .rank = kRank,
          .layer_map = {.kind = "all", .features = "both"}};
}

// Keys and values as attention reads them: [1, N, T, H] each, contiguous, keys rotated.
std::vector<at::Tensor> ready_cache(const KvCache& cache, const RopeTable& table) {
  std::vector<at::Tensor> keys, values;
  for (int64_t layer = 0; layer < cache.geometry().num_layers; ++layer) {
    keys.push_back(cache.keys(layer));
    values.push_back(cache.values(layer));
  }
  std::vector<at::Tensor> tensors = apply_rope(keys, table);
  for (const at::Tensor& part : at::cat(values, 1).split(cache.geometry().num_kv_heads, 1)) {
    tensors.push_back(part);
  }
  return tensors;
}

// The same one layer after the other.
std::vector<at::Tensor> ready_layer_by_layer(const KvCache& cache, const RopeTable& table) {
  std::vector<at::Tensor> tensors, values;
  for (int64_t layer = 0; layer < cache.geometry().num_layers; ++layer) {
    tensors.push_back(apply_rope(cache.keys(layer), table).contiguous());
    values.push_back(cache.values(layer).contiguous());
  }
  tensors.insert(tensors.end(), values.begin(), values.end());
  return tensors;
}

Subject prefill_of(std::shared_ptr<const Decoder> decoder) {
  const at::Tensor tokens =
      at::randint(decoder->config().vocab_size, {1, kTokens}, make_generator(1), at::kLong)
          .to(decoder->device());
  const Work work =
      decoder_work(decoder->config(), {.tokens = kTokens, .logits = 0}, "float32", "prefill");
  return {.name = "prefill",
          .run =
              [=] {
                const auto cache =
                    decoder->forward({.token_ids_BT = tokens, .num_logits = 0}).cache;
                return std::vector{cache->keys(0)};
              },
          .is_baseline = true,
          .detail = decoder->config().geometry.model,
          .flops = work.flops,
          .bytes = work.bytes()};
}

std::vector<Subject> latent_subjects(const KvGeometry& receiver, at::Device device, uint64_t seed,
                                     CallGraphs& graphs) {
  const KvProjector projector =
      random_projector(latent_options(), qwen_sender(), receiver, at::kFloat, device, seed);
  const auto eager = std::make_shared<EagerProjection>(projector, at::kFloat);
  const at::Tensor codes_1Tr =
      latent_codes(random_tensor({1, kTokens, kRank}, at::kFloat, device, derive_seed(seed, 1)));
  const RopeTable table =
      make_rope_table(at::arange(kTokens, at::device(device).dtype(at::kLong)), *receiver.rope);
  const auto cache_of = [=](const at::Tensor& streams_RTD) {
    return KvCache::from_streams(receiver, streams_RTD);
  };
  const auto reference = made_once([=] {
    const at::Tensor latent_1Tr = codes_1Tr.to(at::kDouble) * kLatentScale;
    return ready_layer_by_layer(
        cache_of(EagerProjection(projector, at::kDouble).project_latent(latent_1Tr)), table);
  });
  const auto ours = our_latent_projection(projector, at::kFloat);
  std::vector<Subject> subjects = {
      {.name = "ours",
       .run =
           [=] {
             const at::Tensor latent_1Tr = codes_1Tr.to(at::kFloat) * kLatentScale;
             return ready_cache(cache_of(ours(latent_1Tr)), table);
           },
       .reference = reference},
      {.name = "eager",
       .run =
           [=] {
             const at::Tensor latent_1Tr = codes_1Tr.to(at::kFloat) * kLatentScale;
             return ready_layer_by_layer(cache_of(eager->project_latent(latent_1Tr)), table);
           },
       .reference = reference,
       .is_baseline = true}};
  if (device.is_cuda()) subjects.push_back(in_graph(subjects.front(), graphs, device));
  return subjects;
}

}  // namespace

std::vector<Case> cache_cases(const SuiteSetup& setup) {
  std::shared_ptr<const Decoder> decoder;
  if (setup.receiver.empty()) {
    setup.on_skipped("the receiver's prefill: give --receiver, the Hugging Face folder of a model");
  } else {
    decoder = std::make_shared<Decoder>(Decoder::load(setup.receiver, setup.device));
  }
  const KvGeometry receiver = decoder ? decoder->geometry() : qwen_receiver();
  const KvGeometry sender = qwen_sender();
  const ProjectorSize size{.kind = "low_rank",
                           .rank = kRank,
                           .num_features = num_streams(sender) * sender.width(),
                           .num_streams = num_streams(receiver),
                           .width = receiver.width(),
                           .sender_width = num_streams(sender) * sender.width()};
  const Work work = projection_work(size, kTokens, "float32").decode;
  return {
      {.suite = "cache",
       .name = "rank 512, 512 tokens, FP8 latents to " + receiver.model,
       .dtype = at::kFloat,
       .flops = work.flops,
       .bytes = work.weight_bytes + work.activation_bytes,
       .hot = false,
       .make = [=, device = setup.device, graphs = std::make_shared<CallGraphs>()](uint64_t seed) {
         std::vector<Subject> subjects = latent_subjects(receiver, device, seed, *graphs);
         if (decoder) subjects.push_back(prefill_of(decoder));
         return subjects;
       }}};
}

}  // namespace kvalign::benchmark
