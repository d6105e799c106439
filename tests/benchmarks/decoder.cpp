// Times the decoder on a Hugging Face folder. A worker for compare_decoder.py; arguments: threads,
// folder. Reads a line, answers with a JSON line:
//   prefill T REPEATS        milliseconds of each prefill of T tokens (last token's logits)
//   decode C STEPS           milliseconds a token of STEPS single tokens after C
//   logits TOKENS OUT        writes `logits` [T, V] of the file's first sequence [T] to OUT
//   peak                     [peak resident KiB, weights KiB]
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <sstream>

#include "kvalign/core/random.h"
#include "kvalign/core/safetensors.h"
#include "kvalign/model/decoder.h"

namespace {

using namespace kvalign;

at::Tensor random_tokens(const Decoder& decoder, int64_t count) {
  return at::randint(decoder.config().vocab_size, {1, count}, make_generator(1), at::kLong);
}

template <class Function>
double milliseconds(const Function& function) {
  const auto start = std::chrono::steady_clock::now();
  function();
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  return time.count();
}

std::vector<double> prefill(const Decoder& decoder, int64_t num_tokens, int64_t repeats) {
  const at::Tensor token_ids_BT = random_tokens(decoder, num_tokens);
  std::vector<double> times;
  for (int64_t i = 0; i < repeats; ++i) {
    times.push_back(milliseconds(
        [&] { (void)decoder.forward({.token_ids_BT = token_ids_BT, .num_logits = 1}); }));
  }
  return times;
}

std::vector<double> decode(const Decoder& decoder, int64_t num_cached, int64_t steps) {
  DecoderSession session(decoder);
  at::Tensor next_BT = session.append(random_tokens(decoder, num_cached)).argmax(-1, true);
  std::vector<double> times;
  for (int64_t i = 0; i < steps; ++i) {
    times.push_back(milliseconds([&] { next_BT = session.append(next_BT).argmax(-1, true); }));
  }
  return times;
}

void write_logits(const Decoder& decoder, const std::string& tokens, const std::string& output) {
  const at::Tensor token_ids_BT =
      SafetensorsFile::open(tokens).tensor("token_ids").narrow(0, 0, 512).unsqueeze(0);
  write_safetensors(output,
                    {{"logits", decoder.forward({.token_ids_BT = token_ids_BT}).logits_BTV[0]}});
}

void answer(const std::vector<double>& values) {
  std::cout << "[";
  for (size_t i = 0; i < values.size(); ++i) std::cout << (i == 0 ? "" : ", ") << values[i];
  std::cout << "]" << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  at::set_num_threads(std::atoi(argv[1]));
  const at::NoGradGuard no_gradients;
  const Decoder decoder = Decoder::load(argv[2]);
  std::string line, command, first, second;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    words >> command >> first >> second;
    if (command == "prefill") answer(prefill(decoder, std::stoll(first), std::stoll(second)));
    if (command == "decode") answer(decode(decoder, std::stoll(first), std::stoll(second)));
    if (command == "logits") write_logits(decoder, first, second), answer({});
    if (command == "peak") {
      rusage usage{};
      getrusage(RUSAGE_SELF, &usage);
      answer({static_cast<double>(usage.ru_maxrss)});
    }
  }
}
