// One text: the receiver reads it once, which gives the true cache and the sinks; then every row's
// cache is made and continued from. See ladder_sequence.h.
//
// Shapes:  M predicted tokens   V vocabulary
#include "ladder_sequence.h"

#include <ATen/ATen.h>

#include <cmath>
#include <optional>

#include "continuation.h"
#include "row_caches.h"

namespace kvalign {
namespace {

class TextLadder {
 public:
  TextLadder(const LadderSetup& setup, const std::vector<LadderRowPlan>& plans,
             SenderCaches& senders, size_t text)
      : setup_(setup),
        plans_(plans),
        senders_(senders),
        number_(text),
        text_(setup.texts[text]),
        n_(setup.options.prefix_tokens),
        m_(setup.options.continuation_tokens) {
    scores_ = {.sequence = text_.number,
               .document = text_.document,
               .first = text_.first,
               .all = text_.all,
               .rows = std::vector<RowScores>(plans.size())};
  }

  SequenceScores climb(const CacheTransport& transport) {
    const at::Tensor text_logits_MV = read_text();
    continue_from_true_cache(transport);
    add_scores(CacheSource::kText, text_logits_MV);
    run_sender();
    std::vector<CachedRun> runs;
    for (size_t row = 0; row < plans_.size(); ++row) {
      if (is_continued(plans_[row].source)) runs.push_back(make_run(row));
    }
    // Rows to the sender are planned for one tokenizer alone, so that the targets are the same.
    const auto score = [this](size_t row, const at::Tensor& logits_MV) {
      add_score(row, logits_MV, receiver_targets(), logits_MV.size(1) == reference_MV_.size(1));
    };
    run_after_caches(setup_.receiver, runs, m_, score);
    run_after_caches(setup_.sender, sender_runs(), m_, score);
    for (size_t row = 0; row < plans_.size(); ++row) scores_.rows[row].bytes = bytes_of(row);
    return std::move(scores_);
  }

 private:
  static bool is_continued(CacheSource source) {
    return is_projected(source) || source == CacheSource::kStart || source == CacheSource::kNone;
  }

  at::Tensor receiver_targets() const { return text_.receiver_tokens.narrow(0, n_, m_); }

  // What the receiver consumes after a cache, `reread` tokens more than the last of the prefix.
  at::Tensor consumed(int64_t reread) const {
    return text_.receiver_tokens.narrow(0, n_ - 1 - reread, reread + m_);
  }

  at::Tensor read_text() {
    const DecoderOutput output = setup_.receiver.forward(
        {.token_ids_BT =
             text_.receiver_tokens.narrow(0, 0, n_ + m_ - 1).to(setup_.device).unsqueeze(0),
         .num_logits = m_});
    own_cache_ = output.cache->slice(0, n_ - 1);
    caches_.emplace(setup_, senders_, number_, *own_cache_);
    return output.logits_BTV[0];
  }

  void continue_from_true_cache(const CacheTransport& transport) {
    const KvCache sent = transport ? transport(*own_cache_) : *own_cache_;
    run_after_caches(setup_.receiver, {{0, through_wire(sent, setup_.options), consumed(0)}}, m_,
                     [this](size_t, const at::Tensor& logits_MV) {
                       reference_MV_ = logits_MV.log_softmax(1);
                       add_scores(CacheSource::kTrueCache, logits_MV);
                     });
  }

  void run_sender() {
    const at::Tensor logits_MV = senders_.run(number_);
    const at::Tensor targets =
        text_.sender_tokens.narrow(0, text_.sender_prefix, logits_MV.size(0));
    const bool comparable = setup_.one_tokenizer && logits_MV.size(1) == reference_MV_.size(1);
    for (size_t row = 0; row < plans_.size(); ++row) {
      if (plans_[row].source != CacheSource::kSenderAlone) continue;
      add_score(row, logits_MV, targets, comparable);
    }
  }

  CachedRun make_run(size_t row) {
    const LadderRowPlan& plan = plans_[row];
    return {row, caches_->streams(plan), consumed(plan.info.reread)};
  }

  std::vector<CachedRun> sender_runs() {
    std::vector<CachedRun> runs;
    const at::Tensor own_RTD = own_cache_->streams();
    for (size_t row = 0; row < plans_.size(); ++row) {
      const LadderRowPlan& plan = plans_[row];
      if (plan.source == CacheSource::kSenderNoCache) runs.push_back({row, {}, consumed(0)});
      if (!is_compressed(plan.source)) continue;
      const bool is_wrong = plan.source == CacheSource::kWrongToSender;
      runs.push_back({row,
                      compressed(plan.projector, is_wrong ? other_RTD() : own_RTD, plan.info.sinks),
                      consumed(0)});
    }
    return runs;
  }

  // The receiver's cache of another document.
  const at::Tensor& other_RTD() {
    if (other_RTD_.defined()) return other_RTD_;
    const at::Tensor tokens = setup_.texts[setup_.other_document(number_)].receiver_tokens;
    const DecoderOutput output = setup_.receiver.forward(
        {.token_ids_BT = tokens.narrow(0, 0, n_ - 1).to(setup_.device).unsqueeze(0),
         .num_logits = 0});
    return other_RTD_ = output.cache->streams();
  }

  // A receiver's cache as the sender's, [S, T, d], after the wire; the sinks are the sender's own.
  at::Tensor compressed(size_t projector, const at::Tensor& receiver_RTD, int64_t sinks) const {
    const at::Tensor sent_STd = setup_.projectors[projector]
                                    .compress(receiver_RTD.narrow(1, sinks, n_ - 1 - sinks))
                                    .to(wire_dtype(setup_.options))
                                    .to(at::kFloat);
    if (sinks == 0) return sent_STd;
    const DecoderOutput own = setup_.sender.forward(
        {.token_ids_BT = text_.sender_tokens.narrow(0, 0, sinks).to(setup_.device).unsqueeze(0),
         .num_logits = 0});
    return at::cat({own.cache->streams(), sent_STd}, 1);
  }

  void add_scores(CacheSource source, const at::Tensor& logits_MV) {
    for (size_t row = 0; row < plans_.size(); ++row) {
      if (plans_[row].source == source) add_score(row, logits_MV, receiver_targets());
    }
  }

  void add_score(size_t row, const at::Tensor& logits_MV, const at::Tensor& targets_M,
                 bool comparable = true) {
    scores_.rows[row] =
        score_tokens(logits_MV, targets_M, comparable ? reference_MV_ : at::Tensor());
    for (const double nll : scores_.rows[row].nll) {
      TORCH_CHECK(std::isfinite(nll), "ladder: the row '", plans_[row].info.row,
                  "' predicts what is not finite on sequence ", text_.number,
                  ". Does its cache fit the type of ladder.wire?");
    }
  }

  // Text of tokens that the receiver computes itself, and caches of the others.
  double bytes_of(size_t row) const {
    const LadderRowPlan& plan = plans_[row];
    const int64_t sinks = plan.info.sinks, first_reread = n_ - 1 - plan.info.reread;
    if (plan.source == CacheSource::kSenderAlone) return 0;
    if (plan.source == CacheSource::kText) return static_cast<double>(text_.text_bytes(0, n_));
    const int64_t text = text_.text_bytes(0, sinks) + text_.text_bytes(first_reread, n_);
    if (plan.info.wire.empty()) return static_cast<double>(text);
    const bool own = plan.source == CacheSource::kTrueCache;
    const int64_t cached = own ? first_reread : sender_tokens(sinks, first_reread);
    const Row& projector = setup_.projectors[plan.projector];
    if (is_projected(plan.source) && projector.wire_bytes_per_token > 0) {
      return static_cast<double>(text + projector.wire_bytes_once +
                                 cached * projector.wire_bytes_per_token);
    }
    const KvGeometry& geometry = (own ? setup_.receiver : setup_.sender).geometry();
    const auto bytes = static_cast<int64_t>(c10::elementSize(wire_dtype(setup_.options)));
    return static_cast<double>(text + cached * 2 * geometry.num_layers * geometry.width() * bytes);
  }

  // Sender tokens that the receiver tokens [begin, end) read.
  int64_t sender_tokens(int64_t begin, int64_t end) const {
    if (!text_.alignment_T.defined()) return end - begin;
    const auto* alignment = text_.alignment_T.const_data_ptr<int32_t>();
    return alignment[end - 1] - alignment[begin] + 1;
  }

  const LadderSetup& setup_;
  const std::vector<LadderRowPlan>& plans_;
  SenderCaches& senders_;
  size_t number_;
  const LadderText& text_;
  int64_t n_, m_;
  SequenceScores scores_;
  std::optional<KvCache> own_cache_;  // the receiver's, of T tokens
  std::optional<RowCaches> caches_;
  at::Tensor reference_MV_;
  at::Tensor other_RTD_;  // only where a row needs it
};

}  // namespace

SequenceScores score_text(const LadderSetup& setup, const std::vector<LadderRowPlan>& plans,
                          SenderCaches& senders, const CacheTransport& transport, size_t text) {
  const at::NoGradGuard no_gradients;
  return TextLadder(setup, plans, senders, text).climb(transport);
}

}  // namespace kvalign
