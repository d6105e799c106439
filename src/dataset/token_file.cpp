// Reads and checks a token file.
//
// Shapes: T tokens packed over sequences, S sequences
#include "kvalign/dataset/token_file.h"

#include <ATen/ATen.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "kvalign/core/safetensors.h"
#include "strict_json.h"

namespace kvalign {
namespace {

constexpr int64_t kSchema = 1;
constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

class TokenFileReader {
 public:
  explicit TokenFileReader(const std::filesystem::path& path)
      : file_(SafetensorsFile::open(path.string())) {}

  TokenFile read() {
    TokenFile result;
    result.path = file_.path();
    read_metadata(result);
    result.one_tokenizer = file_.contains("token_ids");
    read_side(result.sender, result.one_tokenizer ? "" : "sender.");
    read_side(result.receiver, result.one_tokenizer ? "" : "receiver.");
    check_sides(result);
    const auto num_sequences = static_cast<int64_t>(result.receiver.offsets.size()) - 1;
    result.documents = integers("document_ids", num_sequences,
                                static_cast<int64_t>(result.document_sha256.size()));
    if (file_.contains("labels")) result.labels = integers("labels", num_sequences, kAny);
    check_nothing_else();
    return result;
  }

 private:
  std::string where(const std::string& tensor) const { return file_.path() + ": " + tensor + ": "; }

  void read_metadata(TokenFile& result) const {
    const auto found = file_.metadata().find("kvalign");
    TORCH_CHECK(found != file_.metadata().end(), file_.path(),
                ": metadata: expected a key \"kvalign\", found none. Is it a token file, made by "
                "scripts/tokenise.py?");
    const std::string name = file_.path() + ": metadata kvalign";
    const nlohmann::json json = nlohmann::json::parse(found->second, nullptr, false);
    TORCH_CHECK(!json.is_discarded(), name, ": not valid JSON.");
    check_schema(json, name, kSchema, "a token file");
    const StrictObject object(json, name, {"schema", "created_by", "tokenizers", "documents"},
                              {"source"});
    object.string("created_by");
    const StrictObject tokenizers(object.at("tokenizers"), object.path("tokenizers"),
                                  {"sender", "receiver"});
    result.sender.tokenizer_sha256 = tokenizers.sha256("sender");
    result.receiver.tokenizer_sha256 = tokenizers.sha256("receiver");
    result.document_sha256 = object.sha256_list("documents");
    result.source = object.free_form("source");
  }

  void read_side(TokenSide& side, const std::string& prefix) {
    side.token_ids = vector_of(prefix + "token_ids", at::kInt, -1);
    const int64_t num_tokens = side.token_ids.size(0);
    side.ends = vector_of(prefix + "token_ends", at::kInt, num_tokens);
    const at::Tensor offsets = vector_of(prefix + "sequence_offsets", at::kLong, -1);
    const int64_t* values = offsets.const_data_ptr<int64_t>();
    side.offsets = {values, values + offsets.numel()};
    check_offsets(side.offsets, num_tokens, where(prefix + "sequence_offsets"));
    const auto smallest = num_tokens > 0 ? side.token_ids.min().item<int32_t>() : 0;
    TORCH_CHECK(smallest >= 0, where(prefix + "token_ids"), "expected ids from 0, got ", smallest,
                ".");
    check_ends(side, where(prefix + "token_ends"));
  }

  static void check_offsets(const std::vector<int64_t>& offsets, int64_t num_tokens,
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

  static void check_ends(const TokenSide& side, const std::string& where) {
    const int32_t* ends = side.ends.const_data_ptr<int32_t>();
    for (size_t i = 0; i + 1 < side.offsets.size(); ++i) {
      int32_t previous = 0;
      for (int64_t t = side.offsets[i]; t < side.offsets[i + 1]; ++t) {
        TORCH_CHECK(ends[t] >= previous, where, "expected bytes that never decrease, got ",
                    previous, " and then ", ends[t], " at token ", t - side.offsets[i],
                    " of sequence ", i, ".");
        previous = ends[t];
      }
    }
  }

  void check_sides(const TokenFile& file) const {
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

  // `length` -1: any.
  at::Tensor vector_of(const std::string& name, at::ScalarType dtype, int64_t length) {
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

  // From 0, below `end`.
  std::vector<int64_t> integers(const std::string& name, int64_t length, int64_t end) {
    const at::Tensor tensor = vector_of(name, at::kLong, length);
    const int64_t* values = tensor.const_data_ptr<int64_t>();
    for (int64_t i = 0; i < length; ++i) {
      TORCH_CHECK(values[i] >= 0 && values[i] < end, where(name), "expected numbers from 0",
                  end == kAny ? "" : " to " + std::to_string(end - 1), ", got ", values[i],
                  " at sequence ", i, ".");
    }
    return {values, values + length};
  }

  void check_nothing_else() const {
    for (const auto& [name, info] : file_.tensors()) {
      TORCH_CHECK(known_.count(name) != 0, where(name),
                  "unexpected tensor. Tokens are either those of both models, or all have the "
                  "prefix sender. or receiver.");
    }
  }

  SafetensorsFile file_;
  std::set<std::string> known_;
};

}  // namespace

TokenSequence TokenSide::sequence(int64_t number) const {
  const auto count = static_cast<int64_t>(offsets.size()) - 1;
  TORCH_CHECK(number >= 0 && number < count, "token file: expected a sequence from 0 to ",
              count - 1, ", got ", number, ".");
  const auto place = static_cast<size_t>(number);
  const int64_t first = offsets[place], length = offsets[place + 1] - first;
  return {token_ids.narrow(0, first, length), ends.narrow(0, first, length)};
}

at::Tensor TokenFile::alignment(int64_t sequence) const {
  if (one_tokenizer) return {};
  return align_tokens(sender.sequence(sequence).ends, receiver.sequence(sequence).ends);
}

TokenFile read_token_file(const std::filesystem::path& path) {
  return TokenFileReader(path).read();
}

}  // namespace kvalign
