// JSON from strangers: bounded, without members that come twice, and with refusals that name the
// member. Private to serve/.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "kvalign/serve/inference_service.h"

namespace kvalign::open_inference {

/// 400 "invalid".
[[noreturn]] void refuse(const std::string& text);

/// 413 "too_large".
[[noreturn]] void refuse_size(const std::string& text);

enum class JsonArrays { kAllowed, kRefused };

/// Parses an object of at most `max_bytes` and 16 levels. Without arrays it takes no more memory
/// than its strings, and some for at most 4096 objects and members. Throws ServeRefusal.
nlohmann::json parse_object(std::string_view text, int64_t max_bytes, const std::string& where,
                            JsonArrays arrays = JsonArrays::kAllowed);

/// Refuses members that are not in `known`, naming both.
void check_members(const nlohmann::json& object, const std::vector<std::string>& known,
                   const std::string& where);

/// The member, of the type in question; `where` names the object. Throws ServeRefusal.
std::string string_member(const nlohmann::json& object, const std::string& name,
                          const std::string& where);
const nlohmann::json& array_member(const nlohmann::json& object, const std::string& name,
                                   size_t most, const std::string& where);

/// The member `parameters`, empty where there is none: an object of scalars.
nlohmann::json parameters_of(const nlohmann::json& object, const std::string& where);

/// `name` of `parameters`, or none. Throws ServeRefusal where it has another type or is negative.
std::optional<bool> bool_parameter(const nlohmann::json& parameters, const std::string& name,
                                   const std::string& where);
std::optional<int64_t> count_parameter(const nlohmann::json& parameters, const std::string& name,
                                       const std::string& where);

/// On one line; what is not UTF-8 is replaced.
std::string text_of(const nlohmann::json& value);

/// Text for an error: at most some sixty bytes of what came.
std::string brief(const nlohmann::json& value);

}  // namespace kvalign::open_inference
