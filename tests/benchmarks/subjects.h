// Variants that are timed in turn, and what is printed of them.
#pragma once

#include <algorithm>
#include <functional>
#include <iomanip>
#include <iostream>
#include <string>
#include <vector>

namespace kvalign {

struct Subject {
  std::string name;
  std::function<void()> run;
  std::vector<double> seconds = {};
};

inline double median(std::vector<double> numbers) {
  std::nth_element(numbers.begin(), numbers.begin() + numbers.size() / 2, numbers.end());
  return numbers[numbers.size() / 2];
}

// How many times as fast `subject` is as `baseline`, round by round.
inline void print_ratio(const Subject& subject, const Subject& baseline) {
  std::vector<double> ratios;
  for (size_t round = 0; round < subject.seconds.size(); ++round) {
    ratios.push_back(baseline.seconds[round] / subject.seconds[round]);
  }
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  std::cout << std::setw(14) << subject.name << " / " << std::left << std::setw(14) << baseline.name
            << std::right << median(ratios) << " [" << *least << ", " << *most << "]\n";
}

inline void print_speed(const Subject& subject, double bytes) {
  std::cout << std::setw(14) << subject.name << "  " << bytes * 1e-9 / median(subject.seconds)
            << " GB/s read and written\n";
}

// Of a codec's subjects: copy, encode, decode, torch encode, torch decode, copy again; each moves
// `bytes`.
inline void print_codec(const Subject (&subjects)[6], double bytes) {
  const auto& [copied, encode, decode, torch_encode, torch_decode, again] = subjects;
  for (const Subject& subject : subjects) print_speed(subject, bytes);
  print_ratio(again, copied);
  print_ratio(encode, copied);
  print_ratio(decode, copied);
  print_ratio(encode, torch_encode);
  print_ratio(decode, torch_decode);
}

}  // namespace kvalign
