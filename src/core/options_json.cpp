// JSON of options. Reading it back goes through the YAML reader, since JSON is a subset of YAML:
// one place knows what an unknown key or a wrong type is.
#include "kvalign/core/options_json.h"

#include "options_reader.h"
#include "options_visitor.h"

namespace kvalign::detail {
namespace {

class JsonWriter : public VisitorOf<JsonWriter> {
 public:
  template <class Value>
  void visit(const FieldInfo& info, const Value& value) {
    (*objects_.back())[info.name] = value;
  }
  void entered(const std::string& name, const std::string&) {
    nlohmann::json& object = (*objects_.back())[name] = nlohmann::json::object();
    objects_.push_back(&object);
  }
  void leaving() { objects_.pop_back(); }
  const nlohmann::json& json() const { return json_; }

 private:
  nlohmann::json json_ = nlohmann::json::object();
  std::vector<nlohmann::json*> objects_ = {&json_};
};

}  // namespace

nlohmann::json options_to_json(const DescribeOptions& describe) {
  JsonWriter writer;
  describe(writer);
  return writer.json();
}

void options_from_json(const DescribeOptions& describe, const nlohmann::json& json,
                       const std::string& source) {
  read_yaml_text(describe, json.dump(), {.name = source, .has_lines = false});
}

}  // namespace kvalign::detail
