// Counts and rooflines against figures worked out by hand, the parameter counts of real files, and
// a loop over every pair of tokens.
#include "kvalign/evaluate/cost.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kvalign/evaluate/roofline.h"
#include "tests/support/throws.h"

namespace kvalign {
namespace {

KvGeometry geometry(int64_t num_layers, int64_t num_kv_heads, int64_t head_dim) {
  KvGeometry geometry;
  geometry.num_layers = num_layers;
  geometry.num_kv_heads = num_kv_heads;
  geometry.head_dim = head_dim;
  return geometry;
}

// Qwen2.5-Coder-1.5B as models/qwen2.5-coder-1.5b-q4_k_m has it: its head is not tied.
DecoderConfig qwen_1_5b() {
  DecoderConfig config;
  config.vocab_size = 151936;
  config.hidden_size = 1536;
  config.intermediate_size = 8960;
  config.num_attention_heads = 12;
  config.query_key_value_bias = true;
  config.geometry = geometry(28, 2, 128);
  return config;
}

DecoderConfig small(const std::string& type, int64_t hidden, int64_t inner, int64_t heads) {
  DecoderConfig config;
  config.model_type = type;
  config.vocab_size = 480;
  config.hidden_size = hidden;
  config.intermediate_size = inner;
  config.num_attention_heads = heads;
  config.tie_word_embeddings = true;
  return config;
}

double flops_of(const DecoderConfig& config, const DecoderPass& pass, const std::string& name) {
  for (const MatmulFlops& matmul : decoder_matmuls(config, pass)) {
    if (matmul.name == name) return matmul.flops;
  }
  ADD_FAILURE() << "no product " << name;
  return 0;
}

// The sums of elements in the safetensors files of these models.
TEST(Cost, ParametersAreThoseOfTheFiles) {
  EXPECT_EQ(num_parameters(qwen_1_5b()), 1'777'088'000);
  DecoderConfig tied = qwen_1_5b();
  tied.tie_word_embeddings = true;
  EXPECT_EQ(num_parameters(tied), 1'543'714'304);
  DecoderConfig qwen_0_5b = qwen_1_5b();
  qwen_0_5b.hidden_size = 896;
  qwen_0_5b.intermediate_size = 4864;
  qwen_0_5b.num_attention_heads = 14;
  qwen_0_5b.geometry = geometry(24, 2, 64);
  EXPECT_EQ(num_parameters(qwen_0_5b), 630'167'424);
  DecoderConfig sender = small("llama", 96, 256, 4);  // demo/sender
  sender.geometry = geometry(4, 2, 24);
  EXPECT_EQ(num_parameters(sender), 452'448);
  DecoderConfig receiver = small("qwen2", 128, 320, 6);  // demo/receiver
  receiver.query_key_value_bias = true;
  receiver.geometry = geometry(5, 3, 32);
  EXPECT_EQ(num_parameters(receiver), 1'047'808);
}

TEST(Cost, EveryBiasAndNormCounts) {
  DecoderConfig config = small("llama", 8, 16, 2);
  config.geometry = geometry(3, 1, 4);
  const int64_t plain = num_parameters(config);
  config.output_bias = true;
  EXPECT_EQ(num_parameters(config), plain + 3 * 8);
  config.mlp_bias = true;
  EXPECT_EQ(num_parameters(config), plain + 3 * (8 + 16 + 16 + 8));
  config.query_key_norm = true;
  EXPECT_EQ(num_parameters(config), plain + 3 * (8 + 16 + 16 + 8 + 4 + 4));
}

// A layer has 1536 x 2048, 1536 x 1536 and 3 x 1536 x 8960 weights; 512 tokens have 512 x 513 / 2
// pairs, each with 1536 products for its score and as many for the sum.
TEST(Cost, PrefillOfQwenByHand) {
  const DecoderPass prefill{.tokens = 512, .logits = 0};
  const DecoderConfig config = qwen_1_5b();
  EXPECT_EQ(flops_of(config, prefill, "query_key_value"), 2.0 * 512 * 28 * 3'145'728);
  EXPECT_EQ(flops_of(config, prefill, "output"), 2.0 * 512 * 28 * 2'359'296);
  EXPECT_EQ(flops_of(config, prefill, "mlp"), 2.0 * 512 * 28 * 41'287'680);
  EXPECT_EQ(flops_of(config, prefill, "scores"), 2.0 * 131'328 * 28 * 1536);
  EXPECT_EQ(flops_of(config, prefill, "weighted_sum"), 2.0 * 131'328 * 28 * 1536);
  EXPECT_EQ(flops_of(config, prefill, "head"), 0);
  // 1.31 billion weights and attention: 2.66 GFLOP a token.
  EXPECT_NEAR(decoder_work(config, prefill, "float16", "").flops / 512, 2.66e9, 0.005e9);
  EXPECT_EQ(flops_of(config, {.tokens = 512, .logits = 1}, "head"), 2.0 * 151'936 * 1536);
}

TEST(Cost, PrefillInPiecesIsThePrefill) {
  const DecoderConfig config = qwen_1_5b();
  const auto flops = [&](int64_t cached, int64_t tokens) {
    return decoder_work(config, {.cached = cached, .tokens = tokens, .logits = 0}, "float16", "")
        .flops;
  };
  EXPECT_EQ(flops(0, 100) + flops(100, 27) + flops(127, 1), flops(0, 128));
}

TEST(Cost, SlidingWindowsLimitWhatATokenSees) {
  DecoderConfig config = small("mistral", 8, 16, 2);
  config.geometry = geometry(3, 1, 4);
  config.geometry.sliding_window = 5;
  config.geometry.sliding_window_layers = {0, 2};
  for (const int64_t cached : {0, 3, 4, 5, 9}) {
    for (const int64_t tokens : {1, 2, 7}) {
      double pairs = 0;
      for (int64_t place = cached; place < cached + tokens; ++place) {
        pairs += static_cast<double>(place + 1 + 2 * std::min<int64_t>(place + 1, 5));
      }
      const DecoderPass pass{.cached = cached, .tokens = tokens, .logits = 0};
      EXPECT_EQ(flops_of(config, pass, "scores"), 2 * 8 * pairs) << cached << " + " << tokens;
    }
  }
  // One token after nine: layer 1 reads all of them, the others four; each writes one. Width 4.
  const Work step = decoder_work(config, {.cached = 9, .tokens = 1, .logits = 0}, "float16", "");
  EXPECT_EQ(step.activation_bytes, 2 * (2 * 4 * (9 + 4 + 4 + 3) + 8));
}

TEST(Cost, DecodingReadsAllWeightsAndTheCache) {
  const Work step = decoder_work(qwen_1_5b(), {.cached = 512, .tokens = 1}, "float16", "decode");
  // All but the embedding, of which one row is read.
  EXPECT_EQ(step.parameters, 1'777'088'000 - 151'936.0 * 1536);
  EXPECT_EQ(step.weight_bytes, 2 * step.parameters);
  EXPECT_EQ(step.activation_bytes, 2 * (28.0 * 2 * 256 * 513 + 1536 + 151'936));
  EXPECT_EQ(step.step, "decode");
}

TEST(Cost, RefusesPassesThatThereAreNot) {
  for (const DecoderPass& pass : {DecoderPass{.tokens = 0, .logits = 0}, DecoderPass{.cached = -1},
                                  DecoderPass{.tokens = 2, .logits = 3}}) {
    EXPECT_THROWS_WITH(decoder_work(qwen_1_5b(), pass, "float16", ""),
                       "expected at least one token");
  }
  EXPECT_THROWS_WITH(element_bytes("int4"), "expected float32, float16, bfloat16 or float8");
}

// From 512 to 4096, the flat caches of the first design.
ProjectorSize flat(const std::string& kind, const std::string& norm) {
  return {.kind = kind,
          .norm = norm,
          .hidden_size = 1024,
          .rank = 64,
          .num_features = 512,
          .width = 4096,
          .sender_width = 512};
}

TEST(Cost, ProjectorsOfTheFirstDesign) {
  EXPECT_EQ(num_parameters(flat("linear_residual", "layer")), 2'109'440);
  EXPECT_EQ(num_parameters(flat("mlp", "layer")), 4'731'904);
  // 100 tokens: 209.7 million multiply-adds.
  EXPECT_EQ(projection_work(flat("linear_residual", "layer"), 100, "float16").decode.flops,
            419'430'400);
  EXPECT_EQ(projection_work(flat("mlp", "layer"), 1, "float16").decode.flops,
            2 * (512 * 1024 + 1024 * 4096));
}

TEST(Cost, NormsAndOtherKinds) {
  EXPECT_EQ(num_parameters(flat("linear_residual", "none")), 512 * 4096 + 4096);
  EXPECT_EQ(num_parameters(flat("linear_residual", "rms")), 512 * 4096 + 2 * 4096);
  EXPECT_EQ(num_parameters(flat("residual_mlp", "none")),
            512 * 4096 + 4096 + 512 * 1024 + 1024 + 1024 * 4096 + 4096);
  // The ways that a projection does not take are left out.
  EXPECT_EQ(num_parameters(flat("bidirectional", "none")), 512 * 4096 + 4096);
  EXPECT_EQ(num_parameters(flat("autoencoder", "none")), 512 * 64 + 64 + 64 * 4096 + 4096);
  EXPECT_EQ(num_parameters(flat("random", "none")), 0);
  EXPECT_EQ(projection_work(flat("random", "none"), 3, "float32").decode.flops,
            2.0 * 3 * 512 * 4096);
  EXPECT_EQ(num_parameters(flat("pad", "none")), 0);
  const Work pad = projection_work(flat("pad", "none"), 3, "float32").decode;
  EXPECT_EQ(pad.flops, 0);
  EXPECT_EQ(pad.bytes(), 4 * 3 * (512 + 4096));
}

// Qwen2.5-Coder 0.5B to 1.5B: 48 sender streams of 128, 56 receiver streams of 256.
TEST(Cost, ProjectionOfQwenByHand) {
  ProjectorSize size{.num_features = 6144, .num_streams = 56, .width = 256, .sender_width = 6144};
  EXPECT_NEAR(projection_work(size, 1, "float16").decode.flops, 0.176e9, 0.0005e9);
  size.kind = "low_rank";
  size.rank = 512;
  const ProjectionWork latent = projection_work(size, 1, "float16");
  EXPECT_EQ(latent.encode.flops, 2.0 * 512 * 6144);
  EXPECT_EQ(latent.decode.flops, 2.0 * 512 * 14336);
  EXPECT_NEAR(latent.encode.flops + latent.decode.flops, 0.021e9, 0.0005e9);
  EXPECT_EQ(latent.encode.parameters, 512 * 6144 + 512);
  EXPECT_EQ(latent.decode.parameters, 512 * 14336 + 14336);
  EXPECT_EQ(latent.encode.activation_bytes, 2 * (6144 + 512));
  EXPECT_EQ(latent.decode.activation_bytes, 2 * (512 + 14336));
}

// Two groups of features, as layer_map all with own features has them, share nothing.
TEST(Cost, GroupsHaveHiddenUnitsOfTheirOwn) {
  const ProjectorSize size{.kind = "residual_mlp",
                           .hidden_size = 10,
                           .num_groups = 2,
                           .num_features = 6,
                           .num_streams = 4,
                           .width = 3,
                           .sender_width = 12};
  EXPECT_EQ(projection_work(size, 1, "float32").decode.flops,
            2 * (4 * 6 * 3 + 2 * 6 * 10 + 4 * 10 * 3));
}

TEST(Cost, RefusesProjectorsThatThereAreNot) {
  EXPECT_THROWS_WITH(projection_work(flat("cubic", "none"), 1, "float16"), "got 'cubic'");
  ProjectorSize size = flat("low_rank", "none");
  size.rank = 0;
  EXPECT_THROWS_WITH(num_parameters(size), "rank 0 for the kind low_rank");
  size = flat("mlp", "none");
  size.hidden_size = 0;
  EXPECT_THROWS_WITH(num_parameters(size), "hidden_size 0, rank 64 for the kind mlp");
  size = flat("mlp", "none");
  size.width = -1;
  EXPECT_THROWS_WITH(projection_work(size, 1, "float16"), "expected positive sizes");
}

// 4,218,880 bytes of weights and 921,600 of inputs and outputs at 1,555 GB/s: 3.3 us; 419 MFLOP at
// 312 TFLOP/s: 1.3 us.
TEST(Roofline, TheFirstDesignsProjectionIsBoundByMemory) {
  const Target a100 = read_target(KVALIGN_SOURCE_DIR "/configs/targets/a100-40gb.yaml");
  const Work work = projection_work(flat("linear_residual", "layer"), 100, "float16").decode;
  EXPECT_EQ(work.bytes(), 4'218'880 + 921'600);
  const Roofline time = roofline(work, a100, "float16");
  EXPECT_NEAR(time.seconds(), 3.306e-6, 0.001e-6);
  EXPECT_NEAR(time.compute_seconds, 1.344e-6, 0.001e-6);
  EXPECT_EQ(time.bound_by(), "memory");
  EXPECT_EQ(time.dtype, "float16");
}

TEST(Roofline, PrefillIsBoundByComputeAndFallsBackByName) {
  const Target nano = read_target(KVALIGN_SOURCE_DIR "/configs/targets/jetson-nano.yaml");
  const Work work = decoder_work(qwen_1_5b(), {.tokens = 512, .logits = 0}, "bfloat16", "");
  const Roofline time = roofline(work, nano, "bfloat16");
  EXPECT_EQ(time.dtype, "float32");
  EXPECT_EQ(time.bound_by(), "compute");
  EXPECT_DOUBLE_EQ(time.seconds(), work.flops / 235.9e9);
}

TEST(Roofline, ConversionsMoveBytesOnly) {
  const Work work = conversion_work(1000, 2, 1020, "FP8 encoding");
  EXPECT_EQ(work.flops, 0);
  EXPECT_EQ(work.bytes(), 3020);
}

TEST(Cost, CacheOfOneToken) {
  EXPECT_EQ(cache_elements(qwen_1_5b().geometry), 14'336);
}

}  // namespace
}  // namespace kvalign
