// The grid of rows. See ladder_rows.h.
#include "ladder_rows.h"

#include <algorithm>
#include <optional>
#include <set>
#include <stdexcept>

namespace kvalign {
namespace {

// Exact sinks and re-read tokens of one row.
struct Cell {
  int64_t sinks = 0, reread = 0;
};

std::string row_name(const std::string& name, Cell cell) {
  std::string text = name;
  if (cell.sinks > 0) text += " + sinks";
  if (cell.reread > 0) text += " + last " + std::to_string(cell.reread);
  return text;
}

// The cells of a projected row; `complete` for a row that the short grid does not shorten.
std::vector<Cell> cells_of(const LadderOptions& options, bool complete) {
  const bool full = options.grid == "full";
  std::vector<Cell> cells;
  for (const int64_t reread : options.reread) {
    if (reread > 0 && !full && !complete) break;
    if (options.sinks > 0) cells.push_back({options.sinks, reread});
    const bool without_sinks = full || options.sinks == 0 || (complete && reread == 0);
    if (without_sinks) cells.push_back({0, reread});
  }
  return cells;
}

class LadderPlanner {
 public:
  explicit LadderPlanner(const LadderOptions& options) : options_(options) {}

  void add(LadderRowInfo info, CacheSource source, size_t projector = 0) {
    plans_.push_back({std::move(info), source, projector});
  }

  void add_projected(const Row& row, size_t projector) {
    // The mean says nothing of any context, and nothing crosses the network for it.
    const bool is_mean = row.checkpoint.empty() && row.name == "mean";
    for (const Cell cell : cells_of(options_, /*complete=*/projector == 0)) {
      add({.row = row_name(row.name, cell),
           .text = row.text,
           .role = is_mean ? RowRole::kFloor : RowRole::kProjected,
           .sinks = cell.sinks,
           .reread = cell.reread,
           .wire = is_mean ? "" : wire_of(row)},
          CacheSource::kProjected, projector);
    }
  }

  void add_wrong_document(const Row& projector) {
    for (const Cell cell : cells_of(options_, /*complete=*/true)) {
      add({.row = row_name("wrong document", cell),
           .text = "another document's cache, projected by " + projector.name +
                   (cell.sinks > 0 ? "; the sinks are this text's" : ""),
           .role = RowRole::kFloor,
           .sinks = cell.sinks,
           .reread = cell.reread,
           .wire = wire_of(projector)},
          CacheSource::kWrongDocument);
    }
  }

  void add_start() {
    for (const int64_t reread : options_.reread) {
      if (options_.sinks + reread == 0) continue;  // that is `no cache`
      const std::string last = "last " + std::to_string(reread);
      std::string name = reread == 0 ? "sinks alone" : "sinks + " + last;
      if (options_.sinks == 0) name = last + " alone";
      add({.row = name,
           .text = "the first and the last tokens as if nothing stood between (StreamingLLM)",
           .role = RowRole::kFloor,
           .sinks = options_.sinks,
           .reread = reread},
          CacheSource::kStart);
    }
  }

  // What the sender can do with the receiver's cache, and without it.
  void add_to_sender(const std::vector<Row>& projectors) {
    std::optional<size_t> first;
    for (size_t i = 0; i < projectors.size(); ++i) {
      if (!projectors[i].compress) continue;
      add_compressed(projectors[i].name + " to sender", "the receiver's cache", projectors[i],
                     RowRole::kToSender, CacheSource::kToSender, i);
      if (!first) first = i;
    }
    if (!first) return;
    add_compressed("wrong document to sender", "the receiver's cache of another document",
                   projectors[*first], RowRole::kSenderFloor, CacheSource::kWrongToSender, *first);
    add({.row = "sender, no cache",
         .text = "the sender starts at the last token of the prefix",
         .role = RowRole::kSenderFloor},
        CacheSource::kSenderNoCache);
  }

  void add_compressed(const std::string& name, const std::string& what, const Row& row,
                      RowRole role, CacheSource source, size_t projector) {
    for (const Cell cell : cells_of(options_, /*complete=*/true)) {
      if (cell.reread > 0) continue;
      add({.row = row_name(name, cell),
           .text = "the sender continues from " + what + ", compressed by " + row.name +
                   (cell.sinks > 0 ? "; the sinks are its own" : ""),
           .role = role,
           .sinks = cell.sinks,
           .wire = options_.wire},
          source, projector);
    }
  }

  const std::string& wire_of(const Row& row) const {
    return row.wire.empty() ? options_.wire : row.wire;
  }

  std::vector<LadderRowPlan> take() { return std::move(plans_); }

 private:
  const LadderOptions& options_;
  std::vector<LadderRowPlan> plans_;
};

void check_names(const std::vector<LadderRowPlan>& plans) {
  std::set<std::string> names;
  for (const LadderRowPlan& plan : plans) {
    if (names.insert(plan.info.row).second) continue;
    throw std::invalid_argument("ladder: two rows are named '" + plan.info.row +
                                "'. Give the checkpoint another name (name=path).");
  }
}

}  // namespace

std::vector<LadderRowPlan> plan_ladder_rows(const LadderOptions& options,
                                            const std::vector<Row>& projectors) {
  LadderPlanner planner(options);
  planner.add({.row = "text", .text = "the receiver re-reads the text", .role = RowRole::kText},
              CacheSource::kText);
  planner.add({.row = "true cache",
               .text = "the receiver's own cache, sent",
               .role = RowRole::kTrueCache,
               .wire = options.wire},
              CacheSource::kTrueCache);
  for (size_t i = 0; i < projectors.size(); ++i) planner.add_projected(projectors[i], i);
  planner.add_wrong_document(projectors.front());
  planner.add_start();
  planner.add({.row = "no cache",
               .text = "the receiver starts at the last token of the prefix",
               .role = RowRole::kFloor},
              CacheSource::kNone);
  planner.add({.row = "sender alone",
               .text = "the sender continues from its own cache",
               .role = RowRole::kSenderAlone},
              CacheSource::kSenderAlone);
  planner.add_to_sender(projectors);
  std::vector<LadderRowPlan> plans = planner.take();
  check_names(plans);
  return plans;
}

size_t judged_row(const LadderOptions& options, const std::vector<Row>& projectors,
                  const std::vector<LadderRowPlan>& plans) {
  const std::string& name = options.judge.empty() ? projectors.front().name : options.judge;
  const auto found = std::find_if(plans.begin(), plans.end(), [&](const LadderRowPlan& plan) {
    return plan.source == CacheSource::kProjected && projectors[plan.projector].name == name;
  });
  if (found != plans.end()) return found - plans.begin();
  std::string known;
  for (const Row& row : projectors) known += (known.empty() ? "" : ", ") + row.name;
  throw std::invalid_argument("ladder.judge: expected the name of a checkpoint, got '" + name +
                              "'; known: " + known);
}

}  // namespace kvalign
