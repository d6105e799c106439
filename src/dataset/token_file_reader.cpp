// Reads and checks what token files and task files have in common. See token_file_reader.h.
#include "token_file_reader.h"

#include <ATen/ATen.h>

#include "strict_json.h"

namespace kvalign {
namespace {

constexpr int64_t kTokenFileSchema = 1;

void check_offsets(const std::vector<int64_t>& offsets, int64_t num_tokens,
                   const std::string& where) {
  TORCH_CHECK(offsets.size() >= 2, where, "expected at least one sequence, got ", offsets.size(),
              " offsets.");
  TORCH_CHECK(offsets.front() == 0 && offsets.back() == num_tokens, where,
              "expected to start at 0 and to end at the file's ", num_tokens, " tokens, got ",
              offsets.front(), " and ", offsets.back(), ".");
  for (size_t i = 1; i < offsets.size(); ++i) {
    TORCH_CHECK(offsets[i] > offsets[i - 1], where, "expected to increase strictly, got ",
                offsets[i - 1], " and then ", offsets[i], " at sequence ", i - 1, ".");
  }
}

void check_ends(const TokenSide& side, const std::string& where) {
  const int32_t* ends = side.ends.const_data_ptr<int32_t>();
  for (size_t i = 0; i + 1 < side.offsets.size(); ++i) {
    int32_t previous = 0;
    for (int64_t t = side.offsets[i]; t < side.offsets[i + 1]; ++t) {
      TORCH_CHECK(ends[t] >= previous, where, "expected bytes that never decrease, got ", previous,
                  " and then ", ends[t], " at token ", t - side.offsets[i], " of sequence ", i,
                  ".");
      previous = ends[t];
    }
  }
}

}  // namespace

TokenFileReader::TokenFileReader(const std::filesystem::path& path, std::string script,
                                 std::string key)
    : file_(SafetensorsFile::open(path.string())),
      script_(std::move(script)),
      key_(std::move(key)) {}

TokenFile TokenFileReader::read() {
  TokenFile result;
  result.path = file_.path();
  read_metadata(result);
  result.one_tokenizer = file_.contains("token_ids");
  read_side(result.sender, result.one_tokenizer ? "" : "sender.");
  read_side(result.receiver, result.one_tokenizer ? "" : "receiver.");
  check_sides(result);
  const auto num_sequences = static_cast<int64_t>(result.receiver.offsets.size()) - 1;
  result.documents =
      integers("document_ids", num_sequences, static_cast<int64_t>(result.document_sha256.size()));
  if (file_.contains("labels")) result.labels = integers("labels", num_sequences, kAny);
  return result;
}

void TokenFileReader::read_metadata(TokenFile& result) {
  const auto found = file_.metadata().find("kvalign");
  const std::string kind = key_.empty() ? "a token file" : "a " + key_ + " file";
  TORCH_CHECK(found != file_.metadata().end(), file_.path(),
              ": metadata: expected a key \"kvalign\", found none. Is it ", kind, ", made by ",
              script_, "?");
  const nlohmann::json json = nlohmann::json::parse(found->second, nullptr, false);
  TORCH_CHECK(!json.is_discarded(), metadata_name(), ": not valid JSON.");
  check_schema(json, metadata_name(), kTokenFileSchema, kind);
  std::vector<std::string> required{"schema", "created_by", "tokenizers", "documents"};
  if (!key_.empty()) required.push_back(key_);
  const StrictObject object(json, metadata_name(), required, {"source"});
  object.string("created_by");
  const StrictObject tokenizers(object.at("tokenizers"), object.path("tokenizers"),
                                {"sender", "receiver"});
  result.sender.tokenizer_sha256 = tokenizers.sha256("sender");
  result.receiver.tokenizer_sha256 = tokenizers.sha256("receiver");
  result.document_sha256 = object.sha256_list("documents");
  result.source = object.free_form("source");
  if (!key_.empty()) value_ = object.at(key_);
}

void TokenFileReader::read_side(TokenSide& side, const std::string& prefix) {
  side.token_ids = ids(prefix + "token_ids");
  const int64_t num_tokens = side.token_ids.size(0);
  side.ends = vector_of(prefix + "token_ends", at::kInt, num_tokens);
  side.offsets = offsets(prefix + "sequence_offsets", num_tokens);
  check_ends(side, where(prefix + "token_ends"));
}

void TokenFileReader::check_sides(const TokenFile& file) const {
  const TokenSide &sender = file.sender, &receiver = file.receiver;
  if (file.one_tokenizer) {
    TORCH_CHECK(sender.tokenizer_sha256 == receiver.tokenizer_sha256, file_.path(),
                ": metadata kvalign: tokenizers: expected one tokenizer for token_ids that both "
                "models read, got ",
                sender.tokenizer_sha256, " and ", receiver.tokenizer_sha256, ".");
    return;
  }
  TORCH_CHECK(sender.offsets.size() == receiver.offsets.size(), where("sender.sequence_offsets"),
              "expected as many sequences as the receiver's ", receiver.offsets.size() - 1,
              ", got ", sender.offsets.size() - 1, ".");
  const auto last_end = [](const TokenSide& side, size_t i) {
    return side.ends.const_data_ptr<int32_t>()[side.offsets[i + 1] - 1];
  };
  for (size_t i = 0; i + 1 < receiver.offsets.size(); ++i) {
    TORCH_CHECK(last_end(sender, i) == last_end(receiver, i), where("sender.token_ends"),
                "expected both sides of a sequence to cover the same text, got ",
                last_end(sender, i), " bytes and the receiver's ", last_end(receiver, i),
                " of sequence ", i, ".");
  }
}

at::Tensor TokenFileReader::vector_of(const std::string& name, at::ScalarType dtype,
                                      int64_t length) {
  known_.insert(name);
  const std::string size = length < 0 ? "tokens" : std::to_string(length);
  TORCH_CHECK(file_.contains(name), where(name), "missing tensor; expected ",
              safetensors_dtype_name(dtype), " [", size, "].");
  const TensorInfo& info = file_.info(name);
  TORCH_CHECK(
      info.dtype == dtype && info.shape.size() == 1 && (length < 0 || info.shape[0] == length),
      where(name), "expected ", safetensors_dtype_name(dtype), " [", size, "], got ",
      safetensors_dtype_name(info.dtype), " ", at::IntArrayRef(info.shape), ".");
  return file_.tensor(name);
}

std::vector<int64_t> TokenFileReader::integers(const std::string& name, int64_t length,
                                               int64_t end) {
  const at::Tensor tensor = vector_of(name, at::kLong, length);
  const int64_t* values = tensor.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < length; ++i) {
    TORCH_CHECK(values[i] >= 0 && values[i] < end, where(name), "expected numbers from 0",
                end == kAny ? "" : " to " + std::to_string(end - 1), ", got ", values[i],
                " at sequence ", i, ".");
  }
  return {values, values + length};
}

at::Tensor TokenFileReader::ids(const std::string& name) {
  const at::Tensor ids = vector_of(name, at::kInt, -1);
  const auto smallest = ids.numel() > 0 ? ids.min().item<int32_t>() : 0;
  TORCH_CHECK(smallest >= 0, where(name), "expected ids from 0, got ", smallest, ".");
  return ids;
}

std::vector<int64_t> TokenFileReader::offsets(const std::string& name, int64_t num_tokens) {
  const at::Tensor tensor = vector_of(name, at::kLong, -1);
  const int64_t* values = tensor.const_data_ptr<int64_t>();
  std::vector<int64_t> offsets{values, values + tensor.numel()};
  check_offsets(offsets, num_tokens, where(name));
  return offsets;
}

void TokenFileReader::check_nothing_else() const {
  for (const auto& [name, info] : file_.tensors()) {
    TORCH_CHECK(known_.count(name) != 0, where(name),
                "unexpected tensor. Tokens are either those of both models, or all have the "
                "prefix sender. or receiver.");
  }
}

}  // namespace kvalign
