// Bodies of Triton's generate extension, both ways. See open_inference.h.
// https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md
#include <utility>

#include "base64.h"
#include "kvalign/serve/open_inference.h"
#include "open_inference_json.h"

namespace kvalign {
namespace {

using namespace open_inference;
using nlohmann::json;

ServedTensor packet_of(const json& body) {
  const auto found = body.find("packet");
  if (found == body.end() || !found->is_string()) {
    refuse("generate: expected \"packet\" to be a packet in base64, got " +
           (found == body.end() ? "none" : brief(*found)));
  }
  std::optional<std::string> bytes = decode_base64(found->get_ref<const std::string&>());
  if (!bytes) {
    refuse("generate: \"packet\" is no base64: expected A-Z, a-z, 0-9, +, / and padding with =");
  }
  return {.name = "packet",
          .datatype = "UINT8",
          .shape = {static_cast<int64_t>(bytes->size())},
          .data = std::move(*bytes)};
}

json named(const std::string& model, const std::string& version, const std::string& id) {
  json body = {{"model_name", model}};
  if (!version.empty()) body["model_version"] = version;
  if (!id.empty()) body["id"] = id;
  return body;
}

}  // namespace

ServeRequest parse_generate(std::string_view body, const OpenInferenceLimits& limits) {
  const json parsed = parse_object(body, limits.max_json_bytes, "generate", JsonArrays::kRefused);
  check_members(parsed, {"packet", "id", "parameters"}, "generate");
  ServeRequest request;
  if (parsed.contains("id")) request.id = string_member(parsed, "id", "generate");
  request.parameters = parameters_of(parsed, "generate");
  if (count_parameter(request.parameters, "max_tokens", "generate") == 0) {
    refuse("generate: expected a max_tokens of 1 or more, got 0");
  }
  request.inputs.push_back(packet_of(parsed));
  return request;
}

std::string write_generate_response(const ServeResponse& response, const std::string& text,
                                    const std::string& id) {
  json body = named(response.model, response.version, id);
  body["text_output"] = text;
  body["outcome"] = name_of(response.outcome);
  body["reason"] = response.reason;
  body["certificate"] = response.certificate;
  return text_of(body);
}

std::string write_generated_piece(const ServeRequest& request, const GeneratedPiece& piece) {
  json body = named(request.model, request.version, request.id);
  body["text_output"] = piece.text;
  body["token_id"] = piece.token_id;
  return text_of(body);
}

}  // namespace kvalign
