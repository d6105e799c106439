// The command line of kvalign-encode. Runs on the device: C++17 without exceptions and without the
// C++ library.
#pragma once

#include <cstdint>

namespace kvalign::tools {

struct EncodeFlags {
  const char* keys = nullptr;
  const char* values = nullptr;
  const char* layout = "transformers";
  const char* dtype = "f16";
  uint64_t layers = 0;
  uint64_t kv_heads = 0;
  uint64_t head_dim = 0;
  uint64_t tokens = 0;
  uint64_t capacity = 0;  // tokens that the files have room for; 0: tokens
  bool flat = false;

  const char* element = nullptr;  // e4m3fn, or the encoder file's
  const char* scales = nullptr;   // token, or the encoder file's
  uint64_t chunk = 64;
  uint64_t sinks = 0;
  uint64_t reread = 0;
  uint64_t position = 0;
  const char* token_ids = nullptr;
  bool all_token_ids = false;
  const char* geometry_id = nullptr;
  const char* inverse_frequencies = nullptr;
  const char* pairing = "half";
  const char* encoder = nullptr;
  const char* output = nullptr;
  bool help = false;
};

// False, with a line on stderr, for an unknown flag, a missing or malformed argument, and a
// required flag that is not there.
bool parse_flags(int argc, char** argv, EncodeFlags& flags);

void print_help();

// The place of `name` in a list of names that ends in NULL, plus `first`; -1, with a line on
// stderr, where it is not there.
int find_name(const char* flag, const char* name, const char* const* names, int first);

}  // namespace kvalign::tools
