// One pass over the sequences for all rows. See round_trips.h.
//
// Shapes:  S sender streams   R receiver streams   T tokens   d, D widths
#include "round_trips.h"

#include <ATen/ATen.h>

#include <functional>

#include "headline.h"

namespace kvalign {
namespace {

// From a batch's true caches to the cache that comes out.
using Run = std::function<at::Tensor(const at::Tensor& sender_STd, const at::Tensor& receiver_RTD,
                                     const at::Tensor& sequence_offsets)>;

struct Way {
  std::string row, name;
  bool ends_at_sender;
  Run run;
  ErrorAccumulator errors = {};
};

void add_ways(const Row& row, std::vector<Way>& ways) {
  const std::shared_ptr<KvProjector>& projector = row.projector;
  if (!projector || !projector->receiver_part() || row.fp8_wire) return;
  const auto add = [&](const char* name, bool ends_at_sender, Run run) {
    ways.push_back({row.name, name, ends_at_sender, std::move(run)});
  };
  if (projector->options().kind == "autoencoder") {
    add("receiver to latent to receiver", false,
        [projector](const at::Tensor&, const at::Tensor& receiver, const at::Tensor&) {
          return projector->reconstruct(receiver);
        });
    return;
  }
  add("receiver to sender", true,
      [projector](const at::Tensor&, const at::Tensor& receiver, const at::Tensor& offsets) {
        return projector->compress(receiver, offsets);
      });
  add("sender to receiver to sender", true,
      [projector](const at::Tensor& sender, const at::Tensor&, const at::Tensor& offsets) {
        return projector->compress(projector->project(sender), offsets);
      });
  add("receiver to sender to receiver", false,
      [projector](const at::Tensor&, const at::Tensor& receiver, const at::Tensor& offsets) {
        return projector->project(projector->compress(receiver, offsets));
      });
}

at::Tensor sender_mean(const PassContext& context, const std::vector<int64_t>& sequences) {
  StreamMean mean;
  for_each_batch(context, sequences, "test split, sender's mean",
                 [&](const PairedBatch& batch) { mean.add(batch.sender_STd); });
  return mean.mean();
}

}  // namespace

std::vector<RoundTripRow> measure_round_trips(const PassContext& context,
                                              const std::vector<int64_t>& sequences,
                                              const at::Tensor& mean_RD,
                                              const std::vector<Row>& rows,
                                              const Bootstrap& bootstrap) {
  std::vector<Way> ways;
  for (const Row& row : rows) add_ways(row, ways);
  if (ways.empty()) return {};
  const at::NoGradGuard no_gradients;
  TargetAccumulator receivers(mean_RD.to(context.device));
  TargetAccumulator senders(sender_mean(context, sequences).to(context.device));
  for_each_batch(context, sequences, "round trips", [&](const PairedBatch& batch) {
    const at::Tensor sender_STd = batch.sender_STd.to(context.device);
    const at::Tensor receiver_RTD = batch.receiver_RTD.to(context.device);
    senders.add(sender_STd, batch.sequence_offsets);
    receivers.add(receiver_RTD, batch.sequence_offsets);
    for (Way& way : ways) {
      way.errors.add(way.run(sender_STd, receiver_RTD, batch.sequence_offsets),
                     way.ends_at_sender ? sender_STd : receiver_RTD, batch.sequence_offsets);
    }
  });
  const bool flat = context.dataset->index().layout == DatasetLayout::kFlat;
  std::vector<RoundTripRow> result;
  for (const Way& way : ways) {
    const TargetSums targets = way.ends_at_sender ? senders.sums() : receivers.sums();
    const auto groups = stream_groups(targets.squared_norm_QR.size(1), flat);
    RoundTripRow row{.row = way.row, .way = way.name};
    for (const Headline& figure :
         headlines(resample(targets, way.errors.sums(), bootstrap), groups)) {
      row.headline.push_back({figure.name, bootstrap.interval(figure.figures_N)});
    }
    result.push_back(std::move(row));
  }
  return result;
}

}  // namespace kvalign
