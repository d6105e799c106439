// The base of our visitors: one template `visit(info, value)` in place of six overrides, and the
// dotted key of the section it is in. Private to core.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "options_text.h"

namespace kvalign::detail {

/// Visitor must have `template <class Value> void visit(const FieldInfo& info, Value& value)`.
template <class Visitor>
class VisitorOf : public OptionVisitor {
 public:
  void field(const FieldInfo& info, bool& value) override { self().visit(info, value); }
  void field(const FieldInfo& info, int64_t& value) override { self().visit(info, value); }
  void field(const FieldInfo& info, double& value) override { self().visit(info, value); }
  void field(const FieldInfo& info, std::string& value) override { self().visit(info, value); }
  void field(const FieldInfo& info, std::vector<int64_t>& value) override {
    self().visit(info, value);
  }
  void field(const FieldInfo& info, std::vector<std::string>& value) override {
    self().visit(info, value);
  }

 protected:
  void enter(const std::string& name, const std::string& help) override {
    sections_.push_back(join_key(section(), name));
    self().entered(name, help);
  }
  void leave() override {
    self().leaving();
    sections_.pop_back();
  }

  /// "projector.mlp", or "" outside of every section.
  std::string section() const { return sections_.empty() ? "" : sections_.back(); }
  std::string parent_section() const { return depth() < 2 ? "" : sections_[depth() - 2]; }
  std::string key(const FieldInfo& info) const { return join_key(section(), info.name); }
  size_t depth() const { return sections_.size(); }

  // A visitor that has something to do at the borders of a section hides these.
  void entered(const std::string&, const std::string&) {}
  void leaving() {}

 private:
  Visitor& self() { return static_cast<Visitor&>(*this); }

  std::vector<std::string> sections_;
};

}  // namespace kvalign::detail
