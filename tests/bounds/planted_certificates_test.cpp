// Wrong variants of projector, attention, margin and statistical limits, each caught by the check
// that the right one passes.
#include "kvalign/bounds/gelu_bound.h"
#include "kvalign/bounds/seed_formula.h"
#include "tests/bounds/planted_bugs.h"

namespace kvalign::testing {
namespace {

class PlantedCertificates : public PlantedBugs {};
TEST_P(PlantedCertificates, IsCaught) {
  EXPECT_GT(GetParam().checked().violations(), 0);
}

// --- projectors
using Change = std::function<void(ProjectorCase&)>;
std::function<Tightness()> linear(const Change& change) {
  return [change] {
    const auto bound = [&](ProjectorCase example) {
      change(example);
      return linear_bound(example);
    };
    return check_projector(random_linear, bound, 1000, 8);
  };
}
std::function<Tightness()> mlp(const ProjectorBound& bound) {
  return [bound] { return check_projector(random_mlp, bound, 600, 10); };
}

// Of a projector with its norm, from the radius before the norm.
double after_norm(const ProjectorCase& example, double radius) {
  const LinearMap map(example.weight, example.bias);
  return bound_after_norm(example.norm, map.apply(example.decoded), Certified(radius)).value();
}
double signed_gram(const ProjectorCase& example) {
  const double form = (example.weight * example.half_widths).norm();
  return example.norm.kind == OutputNorm::kLayer ? linear_bound(example)
                                                 : after_norm(example, raised(form, 64));
}
double rms_of_box(const ProjectorCase& example) {
  const double model =
      (example.weight.colwise().norm().transpose().array() * example.half_widths.array())
          .matrix()
          .norm() /
      std::sqrt(3.0);
  return after_norm(example, model);
}
double largest_half_width(const ProjectorCase& example) {
  return after_norm(example,
                    spectral_norm_upper(example.weight).value() * example.half_widths.maxCoeff());
}
// GELU's slope taken as `slope(example)` everywhere; no norm.
double mlp_with_slope(const ProjectorCase& example, const std::function<double(double)>& slope) {
  if (example.norm.kind != OutputNorm::kNone) return mlp_bound(example);
  const LinearMap hidden(example.mlp.hidden_weight, example.mlp.hidden_bias);
  const Eigen::VectorXd centre = hidden.apply(example.decoded).value;
  Eigen::VectorXd moves = hidden.output_box(example.half_widths);
  for (Eigen::Index i = 0; i < moves.size(); ++i) moves[i] *= slope(centre[i]);
  return LinearMap(example.mlp.output_weight, example.mlp.output_bias).box_bound(moves).value();
}
double slope_one(const ProjectorCase& example) {
  return mlp_with_slope(example, [](double) { return 1.0; });
}
double slope_at_centre(const ProjectorCase& example) {
  return mlp_with_slope(example, [](double x) { return gelu_slope_bound(x, x).value(); });
}
double slope_of_relu(const ProjectorCase& example) {
  return mlp_with_slope(example, [](double x) { return x > 0 ? 1.13 : 0.0; });
}
double output_layer_alone(const ProjectorCase& example) {
  return mlp_with_slope(example, [](double) { return kLargestGeluSlope; }) / 2;
}
double linear_part_forgotten(const ProjectorCase& example) {
  return MlpCertificate(example.mlp, {}).bound(example.decoded, example.half_widths).value();
}
double mlp_part_forgotten(const ProjectorCase& example) {
  return LinearMap(example.weight, {}).box_bound(example.half_widths).value();
}
double latent_without_decoder(const ProjectorCase& example) {
  return norm_upper(example.half_widths);
}

INSTANTIATE_TEST_SUITE_P(
    Projectors, PlantedCertificates,
    ::testing::Values(
        PlantedBug{"CentringForgotten", linear([](ProjectorCase& example) {
                     if (example.norm.kind == OutputNorm::kLayer) {
                       example.norm.kind = OutputNorm::kRms;
                     }
                   })},
        PlantedBug{"CentringOfRmsNorm", linear([](ProjectorCase& example) {
                     if (example.norm.kind == OutputNorm::kRms) {
                       example.norm.kind = OutputNorm::kLayer;
                     }
                   })},
        PlantedBug{"BiasForgotten", linear([](ProjectorCase& example) { example.bias *= 0; })},
        PlantedBug{"MeanGammaForLargest", linear([](ProjectorCase& example) {
                     if (example.norm.gamma.size() > 0) {
                       example.norm.gamma.setConstant(example.norm.gamma.cwiseAbs().mean());
                     }
                   })},
        PlantedBug{"GammaForgotten",
                   linear([](ProjectorCase& example) { example.norm.gamma.setOnes(); })},
        PlantedBug{"EpsilonTwice",
                   linear([](ProjectorCase& example) { example.norm.epsilon *= 30; })},
        PlantedBug{"HalfTheBox", linear([](ProjectorCase& example) { example.half_widths /= 2; })},
        PlantedBug{"SignedGramMatrix",
                   [] { return check_projector(random_linear, signed_gram, 1000, 8); }},
        PlantedBug{"RmsModelThroughTheProjector",
                   [] { return check_projector(random_linear, rms_of_box, 1000, 8); }},
        PlantedBug{"LargestHalfWidthForTheNorm",
                   [] { return check_projector(random_linear, largest_half_width, 1000, 8); }},
        PlantedBug{"GeluSlopeOne", mlp(slope_one)},
        PlantedBug{"GeluSlopeAtTheCentre", mlp(slope_at_centre)},
        PlantedBug{"GeluTakenForRelu", mlp(slope_of_relu)},
        PlantedBug{"HalfForOneInGelu", mlp(output_layer_alone)},
        PlantedBug{
            "LinearPartForgotten",
            [] { return check_projector(random_residual_mlp, linear_part_forgotten, 200, 11); }},
        PlantedBug{
            "MlpPartForgotten",
            [] { return check_projector(random_residual_mlp, mlp_part_forgotten, 200, 11); }},
        PlantedBug{"LatentWithoutDecoder",
                   [] { return check_projector(random_latent, latent_without_decoder, 200, 12); }}),
    name_of_bug);

// --- attention
Tightness check_variation(const VariationBound& bound) {
  return check_total_variation(bound, 20000, 14);
}
double rest_by_subtraction(const Eigen::VectorXd& scores, double tau) {
  const Eigen::ArrayXd weights = (scores.array() - scores.maxCoeff()).exp();
  return total_variation_bound(tau, std::max(1 - 1 / weights.sum(), 0.0)).value();
}
double half_for_one(const Eigen::VectorXd& scores, double tau) {
  return total_variation_from_scores(scores, tau / 2);
}
double peaked_rule_everywhere(const Eigen::VectorXd& scores, double tau) {
  const Eigen::ArrayXd weights = (scores.array() - scores.maxCoeff()).exp();
  const double rest = (weights.sum() - 1) / weights.sum(), w = std::exp(-2 * tau);
  return rest * (1 - rest) * (1 - w) / (rest + (1 - rest) * w) * (1 + 1e-12) + 1e-15;
}

using HeadChange = std::function<void(AttentionHead&, HeadPerturbation&)>;
std::function<Tightness()> head(const HeadChange& change) {
  return [change] {
    const auto bound = [&](AttentionHead head, HeadPerturbation perturbation) {
      change(head, perturbation);
      return head_bound(head, perturbation);
    };
    return check_attention_head(bound, 4000, 15);
  };
}
double growth_dropped(const AttentionHead& head, const HeadPerturbation& perturbation) {
  const double tau = score_radii(head, perturbation).maxCoeff();
  return head_bound(head, perturbation) * (tau > 0.5 ? 2 * tau / std::expm1(2 * tau) : 1);
}

double query_heads_in_turn(const Eigen::MatrixXd& output_weight, const Eigen::MatrixXd& queries,
                           const Eigen::VectorXd& query_norms, std::span<const KvHead> kv_heads) {
  // Head h reads h % N, one key and value head for each query head.
  const std::vector<KvHead> in_turn = {kv_heads[0], kv_heads[1], kv_heads[0], kv_heads[1]};
  return library_layer_bound(output_weight, queries, query_norms, in_turn);
}
double largest_head_alone(const Eigen::MatrixXd&, const Eigen::MatrixXd& queries,
                          const Eigen::VectorXd& query_norms, std::span<const KvHead> kv_heads) {
  double largest = 0;
  for (const HeadBound& head : grouped_query_bounds(queries, query_norms, kv_heads)) {
    largest = std::max(largest, head.bound.value());
  }
  return largest;
}

INSTANTIATE_TEST_SUITE_P(
    Attention, PlantedCertificates,
    ::testing::Values(
        PlantedBug{"OneLessTheHeaviestWeight", [] { return check_variation(rest_by_subtraction); }},
        PlantedBug{"HalfForOneInSoftmax", [] { return check_variation(half_for_one); }},
        PlantedBug{"PeakedRuleEverywhere", [] { return check_variation(peaked_rule_everywhere); }},
        PlantedBug{"QueryMoveForgotten",
                   head([](auto&, auto& perturbation) { perturbation.query_norm = 0; })},
        PlantedBug{"KeyMovesForgotten",
                   head([](auto&, auto& perturbation) { perturbation.key_norms *= 0; })},
        PlantedBug{"ValueMovesForgotten",
                   head([](auto&, auto& perturbation) { perturbation.value_norms *= 0; })},
        PlantedBug{"HalfOfTau", head([](auto&, auto& perturbation) {
                     perturbation.query_norm /= 2;
                     perturbation.key_norms /= 2;
                   })},
        PlantedBug{"MeanMoveForEachToken", head([](auto&, auto& perturbation) {
                     perturbation.value_norms.setConstant(perturbation.value_norms.mean());
                   })},
        PlantedBug{"RadiusForDiameter",
                   [] {
                     return check_attention_head(
                         [](const auto& head, const auto& perturbation) {
                           return head_bound(head, perturbation) / 2;
                         },
                         4000, 15);
                   }},
        PlantedBug{"GrowthOfWeightsDropped",
                   [] { return check_attention_head(growth_dropped, 4000, 15); }},
        PlantedBug{"QueryHeadsInTurn",
                   [] { return check_attention_layer(query_heads_in_turn, 1000, 17); }},
        PlantedBug{"LargestHeadAlone",
                   [] { return check_attention_layer(largest_head_alone, 1000, 17); }}),
    name_of_bug);

// --- decisions and floors
Tightness check_margins(const MarginBound& bound) {
  return check_margin(bound, 3000, 18);
}
double margin_doubled(const Eigen::MatrixXd& weight, const Eigen::VectorXd& bias,
                      const Eigen::VectorXd& input) {
  return 2 * margin_bound(weight, bias, input);
}
double margin_halved(const Eigen::MatrixXd& weight, const Eigen::VectorXd& bias,
                     const Eigen::VectorXd& input) {
  return margin_bound(weight, bias, input) / 2;
}
double margin_without_bias(const Eigen::MatrixXd& weight, const Eigen::VectorXd& bias,
                           const Eigen::VectorXd& input) {
  return margin_bound(weight, bias * 0, input);
}
double second_logit_only(const Eigen::MatrixXd& weight, const Eigen::VectorXd& bias,
                         const Eigen::VectorXd& input) {
  Eigen::VectorXd logits = weight * input + bias;
  Eigen::Index best = 0, second = 0;
  const double first = logits.maxCoeff(&best);
  logits[best] = -1e300;
  const double next = logits.maxCoeff(&second);
  return (first - next) / (weight.row(best) - weight.row(second)).norm() * (1 - 1e-12);
}
double sum_for_mean(const std::vector<Certified>& tokens) {
  return pooled_bound(tokens) / std::sqrt(static_cast<double>(tokens.size()));
}

INSTANTIATE_TEST_SUITE_P(
    Decisions, PlantedCertificates,
    ::testing::Values(
        PlantedBug{"MarginDoubled", [] { return check_margins(margin_doubled); }},
        PlantedBug{"MarginHalved", [] { return check_margins(margin_halved); }},
        PlantedBug{"MarginWithoutBias", [] { return check_margins(margin_without_bias); }},
        PlantedBug{"SecondLogitOnly", [] { return check_margins(second_logit_only); }},
        PlantedBug{"PooledAsIfIndependent", [] { return check_pooled(sum_for_mean, 500, 19); }},
        PlantedBug{"FloorOneDimensionShort",
                   [] {
                     return check_rank_floor(
                         [](const auto& covariance, int64_t dimensions) {
                           return rank_floor_value(covariance,
                                                   std::max<int64_t>(dimensions - 1, 0));
                         },
                         200, 20);
                   }},
        PlantedBug{"FloorOneDimensionLong",
                   [] {
                     return check_rank_floor(
                         [](const auto& covariance, int64_t dimensions) {
                           return rank_floor_value(covariance, dimensions + 1);
                         },
                         200, 20);
                   }},
        PlantedBug{"SeedPrints676",
                   [] {
                     // The note's figure, held against its own formula.
                     Tightness result;
                     result.add_condition(std::abs(6.76 - seed_formula({}).value) < 0.005);
                     return result;
                   }}),
    name_of_bug);

// --- statistics
Tightness check_mean(const MeanLimit& limit) {
  return check_mean_limit(limit, 400, 1);
}
double mean_of(std::span<const double> samples) {
  double sum = 0;
  for (const double sample : samples) sum += sample;
  return sum / static_cast<double>(samples.size());
}
double deviation_of(std::span<const double> samples) {
  double squares = 0;
  for (const double sample : samples) squares += std::pow(sample - mean_of(samples), 2);
  return std::sqrt(squares / static_cast<double>(samples.size() - 1));
}
double hoeffding_without_range(std::span<const double> samples, const DeclaredRange&,
                               double confidence) {
  return mean_of(samples) + std::sqrt(-std::log(1 - confidence) / (2.0 * samples.size()));
}
double normal_interval(std::span<const double> samples, const DeclaredRange&, double) {
  return mean_of(samples) + 1.2816 * deviation_of(samples) / std::sqrt(1.0 * samples.size());
}
double range_of_the_samples(std::span<const double> samples, const DeclaredRange&,
                            double confidence) {
  const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
  if (*low == *high) return *low;
  return mean_upper(samples, {*low, *high}, confidence, MeanMethod::kEmpiricalBernstein).value();
}
double bernstein_linear_term_dropped(std::span<const double> samples, const DeclaredRange&,
                                     double confidence) {
  return mean_of(samples) +
         deviation_of(samples) * std::sqrt(2 * std::log(2 / (1 - confidence)) / samples.size());
}
double bets_at_half_the_capital(std::span<const double> samples, const DeclaredRange& range,
                                double) {
  return mean_upper(samples, range, 0.3, MeanMethod::kBetting).value();
}
std::optional<int64_t> rank_too_small(int64_t n, double coverage, double confidence) {
  const auto rank = tolerance_rank(n, coverage, confidence);
  return rank ? std::optional(*rank - 1) : rank;
}
std::optional<int64_t> conformal_rank_as_tolerance(int64_t n, double coverage, double) {
  return std::min<int64_t>(n, static_cast<int64_t>(std::ceil((n + 1.0) * coverage)));
}
double empirical_quantile(std::span<const double> samples, double coverage) {
  return std::ceil(static_cast<double>(samples.size()) * coverage);
}
double wald_interval(const EventCount& count, double) {
  const double n = static_cast<double>(count.trials), rate = count.events / n;
  return rate + 1.6449 * std::sqrt(rate * (1 - rate) / n);
}
double one_event_fewer(const EventCount& count, double confidence) {
  return rate_upper_value({std::max<int64_t>(count.events - 1, 0), count.trials}, confidence);
}
double lower_of_one_more(const EventCount& count, double confidence) {
  return rate_lower_value({std::min(count.events + 1, count.trials), count.trials}, confidence);
}
double net_count_alone(const PairedOutcomes& outcomes, double confidence) {
  const int64_t net = outcomes.only_reference_right - outcomes.only_ours_right;
  return net >= 0 ? rate_upper_value({net, outcomes.samples}, confidence)
                  : -rate_lower_value({-net, outcomes.samples}, confidence);
}
double unpaired(const PairedOutcomes& outcomes, double confidence) {
  const int64_t ours = outcomes.samples * 9 / 10;
  const int64_t reference =
      std::min(ours + outcomes.only_reference_right - outcomes.only_ours_right, outcomes.samples);
  const double each = simultaneous_confidence(confidence, 2);
  return rate_upper_value({reference, outcomes.samples}, each) -
         rate_lower_value({ours, outcomes.samples}, each);
}
double observed_difference(const PairedOutcomes& outcomes, double) {
  return static_cast<double>(outcomes.only_reference_right - outcomes.only_ours_right) /
         static_cast<double>(outcomes.samples);
}

INSTANTIATE_TEST_SUITE_P(
    Statistics, PlantedCertificates,
    ::testing::Values(
        PlantedBug{"HoeffdingWithoutRange", [] { return check_mean(hoeffding_without_range); }},
        PlantedBug{"NormalIntervalOfRareEvents", [] { return check_mean(normal_interval); }},
        PlantedBug{"RangeLookedUpInTheSamples", [] { return check_mean(range_of_the_samples); }},
        PlantedBug{"BernsteinWithoutLinearTerm",
                   [] { return check_mean(bernstein_linear_term_dropped); }},
        PlantedBug{"BetsStoppedTooEarly", [] { return check_mean(bets_at_half_the_capital); }},
        PlantedBug{"ToleranceRankOneTooSmall", [] { return check_tolerance_rank(rank_too_small); }},
        PlantedBug{"ConformalRankForTolerance",
                   [] { return check_tolerance_rank(conformal_rank_as_tolerance); }},
        PlantedBug{"EmpiricalQuantileForConformal",
                   [] { return check_conformal(empirical_quantile); }},
        PlantedBug{"WaldInterval", [] { return check_rate_limit(wald_interval, true); }},
        PlantedBug{"RateOfOneEventFewer", [] { return check_rate_limit(one_event_fewer, true); }},
        PlantedBug{"LowerRateOfOneMore", [] { return check_rate_limit(lower_of_one_more, false); }},
        PlantedBug{"NetCountAlone", [] { return check_degradation(net_count_alone, 400, 3); }},
        PlantedBug{"UnpairedDegradation", [] { return check_degradation(unpaired, 400, 3); }},
        PlantedBug{"ObservedDifference",
                   [] { return check_degradation(observed_difference, 400, 3); }}),
    name_of_bug);

}  // namespace
}  // namespace kvalign::testing
