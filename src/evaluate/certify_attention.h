// Attention certificates of rows on whole sequences of the dataset. Private to evaluate/.
#pragma once

#include <memory>
#include <vector>

#include "attention_certificate.h"
#include "certify.h"
#include "row_certificate.h"

namespace kvalign {

class AttentionOfRows {
 public:
  // Loads the receiver and lets it read the sequences. Throws as certify().
  AttentionOfRows(const CertifyOptions& options, const CertifyContext& context,
                  const std::vector<int64_t>& sequences);

  // Fills in attention_wire and attention_whole of `result`, and adds to its violations.
  void certify(const Row& row, const std::vector<StreamCertificate>& certificates,
               CertificateRow& result) const;

 private:
  struct Text {
    int64_t sequence = 0;
    ReceiverQueries queries;
  };

  const CertifyOptions& options_;
  const CertifyContext& context_;
  std::unique_ptr<AttentionCertificate> certificate_;
  std::vector<Text> texts_;
};

}  // namespace kvalign
