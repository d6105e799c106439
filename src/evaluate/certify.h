// Certificates of an evaluation's rows: chooses tokens, bounds them, sets measured figures and
// statistical limits beside the bounds, and judges. Private to evaluate/.
#pragma once

#include <cstdint>
#include <vector>

#include "kvalign/evaluate/certificate_report.h"
#include "kvalign/evaluate/certify_options.h"
#include "passes.h"
#include "rows.h"
#include "task_agreement.h"

namespace kvalign {

struct CertifyContext {
  const PassContext& data;
  const std::vector<int64_t>& sequences;  // of the test split
  const TestPass& pass;                   // of all of them
  const TaskAgreement* task = nullptr;    // where the dataset has labels
};

// Throws std::invalid_argument where a gate is asked for that could not be judged.
void check_certify_options(const CertifyOptions& options, bool has_labels);

// Of each row with a checkpoint; memory grows with options.sequences times options.tokens. Throws
// std::invalid_argument where the receiver's folder is not the dataset's receiver, its sequences
// hold no token ids or not more than options.queries tokens.
CertificateReport certify(const std::vector<Row>& rows, const CertifyOptions& options,
                          const CertifyContext& context);

}  // namespace kvalign
