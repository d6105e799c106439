// Which caches are compared, by the kind of projector. See round_trip_loss.h.
#include "kvalign/train/round_trip_loss.h"

#include <ATen/ATen.h>

#include <stdexcept>

namespace kvalign {

void RoundTripOptions::describe(OptionVisitor& visitor) {
  visitor.field({.name = "backward",
                 .help = "bidirectional: weight of the receiver's cache compressed to the sender's",
                 .minimum = 0,
                 .exclusive_minimum = true},
                backward);
  visitor.field({.name = "reconstruction",
                 .help = "autoencoder: weight of the receiver's cache from its own latent",
                 .minimum = 0,
                 .exclusive_minimum = true},
                reconstruction);
  visitor.field({.name = "cycle_sender",
                 .help = "bidirectional: weight of sender to receiver to sender",
                 .minimum = 0},
                cycle_sender);
  visitor.field({.name = "cycle_receiver",
                 .help = "bidirectional: weight of receiver to sender to receiver",
                 .minimum = 0},
                cycle_receiver);
}

RoundTripLoss::RoundTripLoss(const KvProjector& projector, const RoundTripOptions& options,
                             const LossOptions& loss)
    : options_(options) {
  const std::string& kind = projector.options().kind;
  if (kind != "bidirectional" && (options.cycle_sender > 0 || options.cycle_receiver > 0)) {
    throw std::invalid_argument(
        "round_trip: cycle_sender and cycle_receiver expect projector.kind bidirectional, got " +
        kind + ", which goes one way. Set both to 0");
  }
  if (!projector.receiver_part()) return;
  if (loss.mse == 0 && loss.cosine == 0) {
    throw std::invalid_argument(
        "round_trip: projector.kind " + kind +
        " expects loss.mse or loss.cosine above 0, the terms that its other direction is trained "
        "on, got 0 for both");
  }
  LossOptions terms;
  terms.mse = loss.mse;
  terms.cosine = loss.cosine;
  terms.task = 0;
  loss_.emplace(terms, std::nullopt);
}

std::vector<RoundTrip> RoundTripLoss::run(const KvProjector& projector,
                                          const at::Tensor& sender_STd,
                                          const at::Tensor& receiver_RTD,
                                          const at::Tensor& predicted_RTD,
                                          const at::Tensor& sequence_offsets) const {
  if (!loss_) return {};
  if (projector.options().kind == "autoencoder") {
    return {{"reconstruction", options_.reconstruction, projector.reconstruct(receiver_RTD),
             receiver_RTD}};
  }
  const at::Tensor compressed_STd = projector.compress(receiver_RTD, sequence_offsets);
  std::vector<RoundTrip> trips{{"backward", options_.backward, compressed_STd, sender_STd}};
  if (options_.cycle_sender > 0) {
    trips.push_back({"cycle_sender", options_.cycle_sender,
                     projector.compress(predicted_RTD, sequence_offsets), sender_STd});
  }
  if (options_.cycle_receiver > 0) {
    trips.push_back({"cycle_receiver", options_.cycle_receiver, projector.project(compressed_STd),
                     receiver_RTD});
  }
  return trips;
}

void RoundTripLoss::add_to(LossValue& loss, const std::vector<RoundTrip>& trips,
                           const at::Tensor& sequence_offsets) const {
  for (const RoundTrip& trip : trips) {
    const LossValue own = loss_->compute({.predicted_RTD = trip.output,
                                          .target_RTD = trip.target,
                                          .sequence_offsets = sequence_offsets});
    loss.total = loss.total + trip.weight * own.total;
    for (const auto& [name, value] : own.terms) {
      loss.terms.emplace_back(trip.name + "_" + name, value);
    }
  }
}

}  // namespace kvalign
