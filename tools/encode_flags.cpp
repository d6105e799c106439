// Each flag is described once; parsing and help go by the description.
#include "encode_flags.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace kvalign::tools {
namespace {

struct Flag {
  const char* name;
  const char* argument;  // NULL: a switch
  const char* help;
  // One of them.
  const char* EncodeFlags::*text = nullptr;
  uint64_t EncodeFlags::*number = nullptr;
  bool EncodeFlags::*is_set = nullptr;
  bool required = false;
};

Flag text(const char* name, const char* argument, const char* EncodeFlags::*field, bool required,
          const char* help) {
  return {name, argument, help, field, nullptr, nullptr, required};
}
Flag number(const char* name, uint64_t EncodeFlags::*field, bool required, const char* help) {
  return {name, "N", help, nullptr, field, nullptr, required};
}
Flag is_set(const char* name, bool EncodeFlags::*field, const char* help) {
  return {name, nullptr, help, nullptr, nullptr, field, false};
}

using F = EncodeFlags;

const Flag kFlags[] = {
    text("--keys", "FILE", &F::keys, true,
         "keys of all layers, one after the other, nothing around them"),
    text("--values", "FILE", &F::values, false,
         "values, in the same way; not with --flat or --layout tensorrt_llm"),
    text("--layout", "NAME", &F::layout, false,
         "of one layer: transformers [N, T, H] (default), llama_cpp [T, N * H],\n"
         "llama_cpp_transposed (as llama_cpp, values [N * H, T]),\n"
         "tensorrt_llm [2, N, T, H] (keys and values in --keys)"),
    text("--dtype", "TYPE", &F::dtype, false, "f16 (default), bf16 or f32; little-endian"),
    number("--layers", &F::layers, true, "layers of the model"),
    number("--kv-heads", &F::kv_heads, true, "N, key-value heads of a layer"),
    number("--head-dim", &F::head_dim, true, "H, channels of a head"),
    number("--tokens", &F::tokens, true, "tokens of the prefix"),
    number("--capacity", &F::capacity, false,
           "T, tokens that the files have room for (default: --tokens)"),
    is_set("--flat", &F::flat, "one stream without layers, in --keys"),
    text("--geometry-id", "HEX", &F::geometry_id, false,
         "of the model, 64 digits: kvalign export --format edge prints it;\nrequired without "
         "--encoder"),
    text("--inverse-frequencies", "FILE", &F::inverse_frequencies, false,
         "float32, radians a token of each pair of channels: turns rotated keys\nback; without, "
         "keys "
         "carry no positions"),
    text("--pairing", "NAME", &F::pairing, false, "of rotated keys: half (default) or interleaved"),
    text("--encoder", "FILE", &F::encoder, false,
         "what kvalign export --format edge wrote: sends latents"),
    text("--element", "TYPE", &F::element, false,
         "e4m3fn, e5m2, f16, bf16 or f32 (default: what the encoder file was\ntrained for, else "
         "e4m3fn)"),
    text("--scales", "KIND", &F::scales, false,
         "none, tensor, head, token, channel or block32; static ones are chosen\nfrom the cache "
         "(default: the encoder file's own, else token; none for\nother elements than FP8)"),
    number("--chunk", &F::chunk, false, "tokens of a chunk (default 64)"),
    number("--sinks", &F::sinks, false, "first tokens that travel as ids alone (default 0)"),
    number("--reread", &F::reread, false, "last tokens that travel as ids alone (default 0)"),
    number("--position", &F::position, false, "position of the first token (default 0)"),
    text("--token-ids", "FILE", &F::token_ids, false,
         "int32 of every token, for those that travel"),
    is_set("--all-token-ids", &F::all_token_ids, "each token travels with its id"),
    text("--output", "FILE", &F::output, true, "the packet"),
    is_set("--help", &F::help, "prints this"),
};

bool parse_number(const char* text, uint64_t& number) {
  char* end = nullptr;
  errno = 0;
  number = std::strtoull(text, &end, 10);
  return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

bool fail(const char* what, const char* which) {
  std::fprintf(stderr, "kvalign-encode: %s %s; --help lists the flags\n", what, which);
  return false;
}

const Flag* find(const char* name) {
  for (const Flag& flag : kFlags) {
    if (std::strcmp(flag.name, name) == 0) return &flag;
  }
  return nullptr;
}

bool is_given(const Flag& flag, const EncodeFlags& flags) {
  return flag.text != nullptr ? flags.*flag.text != nullptr : flags.*flag.number != 0;
}

}  // namespace

bool parse_flags(int argc, char** argv, EncodeFlags& flags) {
  for (int i = 1; i < argc; ++i) {
    const Flag* flag = find(argv[i]);
    if (flag == nullptr) return fail("unknown flag", argv[i]);
    if (flag->argument == nullptr) {
      flags.*flag->is_set = true;
      continue;
    }
    if (++i == argc) return fail("expected an argument after", flag->name);
    if (flag->text != nullptr) {
      flags.*flag->text = argv[i];
    } else if (!parse_number(argv[i], flags.*flag->number)) {
      return fail("expected a number after", flag->name);
    }
  }
  if (flags.help) return true;
  for (const Flag& flag : kFlags) {
    if (flag.required && !is_given(flag, flags)) return fail("expected the flag", flag.name);
  }
  return true;
}

void print_help() {
  std::puts(
      "Makes a packet of a KV cache on the device that has it.\n\n"
      "Usage: kvalign-encode FLAGS\n");
  for (const Flag& flag : kFlags) {
    std::printf("  %s%s%s%s\n", flag.name, flag.argument != nullptr ? " " : "",
                flag.argument != nullptr ? flag.argument : "", flag.required ? " (required)" : "");
    for (const char* line = flag.help; line != nullptr;) {
      const char* end = std::strchr(line, '\n');
      std::printf("        %.*s\n", static_cast<int>(end != nullptr ? end - line : 1000), line);
      line = end != nullptr ? end + 1 : nullptr;
    }
  }
  std::puts("\nExit codes: 0 done, 1 failed, 2 wrong usage.");
}

int find_name(const char* flag, const char* name, const char* const* names, int first) {
  for (int i = 0; names[i] != nullptr; ++i) {
    if (std::strcmp(names[i], name) == 0) return first + i;
  }
  std::fprintf(stderr, "kvalign-encode: expected %s to be one of", flag);
  for (int i = 0; names[i] != nullptr; ++i) std::fprintf(stderr, " %s", names[i]);
  std::fprintf(stderr, ", got %s\n", name);
  return -1;
}

}  // namespace kvalign::tools
