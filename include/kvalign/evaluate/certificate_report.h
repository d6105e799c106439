// What certificates say of held-out caches, beside what was measured on the same tokens. Holds
// results only; certify.h computes them. Measured, certified and statistical numbers have members
// of their own and are never put in one place.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kvalign/evaluate/percentiles.h"
#include "kvalign/format/export.h"

namespace kvalign {

/// How far one stream's outputs |P(x) - P(x_hat)|_2 move when its input is rounded on the wire.
struct StreamCertificateFigures {
  std::string stream;
  double output_norm = 0;  ///< median |P(x_hat)|
  Percentiles measured, certified;
  double vacuous = 0;     ///< share of tokens whose bound is at least their output's norm
  double projection = 0;  ///< mean |true - projected|, measured
  double floor = 0;       ///< mean squared error of an element that no projector of this form beats
};

/// Attention outputs of one layer under the receiver's own queries, one change of the cache.
struct AttentionLayerFigures {
  int64_t layer = 0;
  Percentiles measured, certified;      ///< |change of the output| / |output|
  Percentiles c_measured, c_certified;  ///< the same / relative change of keys and values
  char binding = 'A';                   ///< which of the bounds A-D is the least, most often
};
struct AttentionFigures {
  int64_t queries = 0;
  int64_t left_out = 0;  ///< sequences of which some bound is infinite
  std::vector<AttentionLayerFigures> layers;
};

/// Decisions of the task head of a dataset with labels.
struct DecisionFigures {
  int64_t sequences = 0, classes = 0;
  int64_t documents = 0;  ///< trials of the statistical limits: the first sequence of each
  int64_t certified_quantisation = 0;   ///< the same for every cache with these codes
  int64_t certified_fully = 0;          ///< proved the same as on the true cache
  int64_t disagreements = 0;            ///< unlike the true cache's, measured
  int64_t certified_disagreements = 0;  ///< of those that were certified fully: must be 0
  int64_t correct_and_certified = 0;
  double base_distortion = 0;        ///< share that the head gets wrong on true caches
  double task_distortion_lower = 0;  ///< statistical: Clopper-Pearson, of the disagreement rate
  double task_distortion_upper = 1;  ///< likewise
  double degradation_upper = 1;      ///< statistical, paired: accuracy on true caches minus ours
};

/// Of a document: mean over streams of |true - projected| / |true|, clipped at 1 (no better than
/// zeros). Statistical.
struct ProjectionLimits {
  double mean = 0;        ///< measured
  double mean_upper = 1;  ///< betting
  double mean_upper_bernstein = 1;
  double mean_upper_hoeffding = 1;
  double tolerance = std::numeric_limits<double>::infinity();  ///< of 95 % of the population
  int64_t documents = 0;                                       ///< the units of sampling
  int64_t clipped = 0;
};

struct CertificateRow {
  std::string row = {}, text = {}, wire = {};
  int64_t tokens = 0, sequences = 0;
  int64_t unbounded = 0;   ///< numbers whose code is the largest of an earlier scale
  int64_t violations = 0;  ///< bounds that a measured figure exceeds: must be 0
  double numeric = 0;      ///< largest |float32 - float64| of a token's output, measured
  double seed_formula = 0;
  Percentiles quantisation_measured = {},
              quantisation_certified = {};  ///< relative to a token's norm
  double quantisation_model = 0;            ///< median of the RMS model
  std::vector<StreamCertificateFigures> streams = {};
  /// 1 - (floor of all streams together) / variance: the pooled R² that no projector of this form
  /// exceeds on a sample of at most 2,048 held-out tokens. Measured.
  double largest_r2 = 1;
  std::optional<ProjectionLimits> projection = {};
  std::optional<AttentionFigures> attention_wire = {};  ///< P(x) against P(x_hat): from codes alone
  std::optional<AttentionFigures> attention_whole =
      {};  ///< true cache against P(x_hat), both known
  std::optional<DecisionFigures> decisions = {};
};

enum class Verdict : uint8_t { kPassed, kFailed, kInconclusive };

struct CertificateGate {
  Verdict verdict = Verdict::kPassed;
  std::string why = {};
};

struct CertificateReport {
  double confidence = 0.95;  ///< that all statistical limits hold together
  int64_t statements = 0;    ///< how many there are (Bonferroni)
  std::vector<CertificateRow> rows = {};
  std::vector<std::string> absent = {};  ///< "row: why"
  CertificateGate gate = {};
};

/// Fails where a bound is exceeded, or where the first row's D_base plus the lower limit of its
/// task distortion is beyond `max_task_distortion`; passes where no bound is exceeded and D_base
/// plus the upper limit is within it (1: whatever the task says). Else, and without any row, it is
/// inconclusive. Throws std::invalid_argument below 1 for a first row without decisions.
KVALIGN_API CertificateGate judge_certificates(const CertificateReport& report,
                                               double max_task_distortion);

/// The value of report.json's key "certificates".
KVALIGN_API nlohmann::json to_json(const CertificateReport& report);

/// A table of rows for a terminal.
KVALIGN_API std::string to_text(const CertificateReport& report);

/// Tables of rows, streams and layers, and what their columns mean.
KVALIGN_API std::string to_markdown(const CertificateReport& report);

}  // namespace kvalign
