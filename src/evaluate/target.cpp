// Reads a target's file and chooses the type it computes in. See target.h.
#include "kvalign/evaluate/target.h"

#include <map>
#include <stdexcept>
#include <vector>

namespace kvalign {
namespace {

constexpr const char* kSourceHelp = "document, version and table that the figures are from";

void describe_source(OptionVisitor& visitor, std::string& source) {
  visitor.field({.name = "source", .help = kSourceHelp, .required = true}, source);
}

// Candidates for numbers of one type, the first that a device has is taken.
const std::map<std::string, std::vector<std::string>>& compute_types() {
  static const std::map<std::string, std::vector<std::string>> types = {
      {"float32", {"float32"}},
      {"float16", {"float16", "float32"}},
      {"bfloat16", {"bfloat16", "float32"}},
      {"float8", {"float8", "float16", "bfloat16", "float32"}}};
  return types;
}

double peak_of(const PeakFlops& peak, const std::string& dtype) {
  if (dtype == "float32") return peak.float32;
  if (dtype == "float16") return peak.float16;
  return dtype == "bfloat16" ? peak.bfloat16 : peak.float8;
}

}  // namespace

void PeakFlops::describe(OptionVisitor& visitor) {
  visitor.field({.name = "float32",
                 .help = "peak in float32, without TF32",
                 .minimum = 0,
                 .exclusive_minimum = true},
                float32);
  visitor.field({"float16", "dense peak in float16; 0: the device has none", 0}, float16);
  visitor.field({"bfloat16", "dense peak in bfloat16; 0: the device has none", 0}, bfloat16);
  visitor.field({"float8", "dense peak in FP8; 0: the device has none", 0}, float8);
  describe_source(visitor, source);
}

void TargetMemory::describe(OptionVisitor& visitor) {
  visitor.field({.name = "bytes_per_second",
                 .help = "bandwidth of the memory that holds weights and caches",
                 .minimum = 0,
                 .exclusive_minimum = true},
                bytes_per_second);
  describe_source(visitor, source);
}

void TargetPowerLimit::describe(OptionVisitor& visitor) {
  visitor.field({.name = "watts",
                 .help = "what the device may draw at most",
                 .minimum = 0,
                 .exclusive_minimum = true},
                watts);
  describe_source(visitor, source);
}

void Target::describe(OptionVisitor& visitor) {
  visitor.field({.name = "name", .help = "what reports call the device", .required = true}, name);
  visitor.section("peak_flops_per_second", "operations a second, a multiply-add counted as two",
                  peak_flops_per_second);
  visitor.section("memory", "the device's memory", memory);
  visitor.section("power_limit", "the device's power limit", power_limit);
}

Target read_target(const std::string& path) {
  Target target;
  read_options(target, path);
  try {
    validate_options(target);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(path + ": " + error.what());
  }
  return target;
}

ComputeType compute_type(const Target& target, const std::string& dtype) {
  const auto found = compute_types().find(dtype);
  if (found == compute_types().end()) {
    throw std::invalid_argument(
        "compute_type: expected float32, float16, bfloat16 or float8, got '" + dtype + "'");
  }
  for (const std::string& candidate : found->second) {
    const double peak = peak_of(target.peak_flops_per_second, candidate);
    if (peak > 0) return {candidate, peak};
  }
  throw std::invalid_argument("compute_type: the target '" + target.name +
                              "' has no peak in float32. Read it with read_target.");
}

}  // namespace kvalign
