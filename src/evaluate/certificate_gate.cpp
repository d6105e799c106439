// Judges certificates. See certificate_report.h.
#include <stdexcept>

#include "kvalign/evaluate/certificate_report.h"
#include "number_text.h"

namespace kvalign {
namespace {

int64_t count_violations(const CertificateReport& report) {
  int64_t violations = 0;
  for (const CertificateRow& row : report.rows) {
    violations += row.violations;
    if (row.decisions) violations += row.decisions->certified_disagreements;
  }
  return violations;
}

CertificateGate judge_task(const CertificateRow& row, double max_task_distortion) {
  if (!row.decisions) {
    throw std::invalid_argument("judge_certificates: expected decisions of " + row.row +
                                ", which a gate on them judges, got none");
  }
  const DecisionFigures& decisions = *row.decisions;
  const std::string text = row.row + ": " + format_short(decisions.base_distortion) +
                           " wrong on true caches, " +
                           format_short(decisions.task_distortion_lower) + " to " +
                           format_short(decisions.task_distortion_upper) + " changed, together ";
  const std::string limit = " " + format_short(max_task_distortion);
  if (decisions.base_distortion + decisions.task_distortion_upper <= max_task_distortion) {
    return {Verdict::kPassed, text + "within" + limit};
  }
  if (decisions.base_distortion + decisions.task_distortion_lower > max_task_distortion) {
    return {Verdict::kFailed, text + "beyond" + limit};
  }
  return {Verdict::kInconclusive, text + "below and above" + limit + ": too few sequences"};
}

}  // namespace

CertificateGate judge_certificates(const CertificateReport& report, double max_task_distortion) {
  if (report.rows.empty()) return {Verdict::kInconclusive, "no row could be certified"};
  const int64_t violations = count_violations(report);
  if (violations > 0) {
    return {Verdict::kFailed, std::to_string(violations) +
                                  " measured figures exceed their certified bounds: the bounds or "
                                  "what they are computed from are wrong. Please report this"};
  }
  const std::string held = "no measured figure exceeds its certified bound";
  if (max_task_distortion >= 1) return {Verdict::kPassed, held};
  CertificateGate gate = judge_task(report.rows.front(), max_task_distortion);
  gate.why = held + "; " + gate.why;
  return gate;
}

}  // namespace kvalign
